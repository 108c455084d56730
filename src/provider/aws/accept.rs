//! What is noted of a change that AWS accepted: what it is of, and the id by which AWS's own log knows the request. The
//! note is durable before anything is waited for, so that the record has the id however the wait ends.

use crate::provider::action::{ActionError, Cx};

/// Notes that AWS took a change of `name`.
pub async fn note(cx: &Cx, name: &str, request_id: Option<&str>) -> Result<(), ActionError> {
    let named = match request_id {
        Some(id) => format!("{name} (request id {id})"),
        None => name.to_owned(),
    };
    cx.reporter.ack(&named).await
}
