//! The classes of AWS errors. A request whose answer did not come is in doubt, never transient, when it could have
//! changed something.

use std::fmt::Debug;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::provider::action::{ActionError, ActionErrorKind};

/// What kind of request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Read,
    Mutation,
}

/// Codes that say "later": AWS did nothing.
const LATER: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "PriorRequestNotComplete",
    "RequestThrottled",
    "SlowDown",
];

/// The class of an SDK error, with words for people.
pub fn classify<E>(error: SdkError<E, HttpResponse>, call: &str, sent: Sent) -> ActionError
where
    E: ProvideErrorMetadata + Debug,
{
    let unanswered = match sent {
        Sent::Read => ActionErrorKind::Transient,
        Sent::Mutation => ActionErrorKind::InDoubt,
    };
    match &error {
        SdkError::ConstructionFailure(cause) => ActionError::new(
            ActionErrorKind::Permanent,
            format!("{call} could not be made: {cause:?}"),
        ),
        SdkError::TimeoutError(_) => ActionError::new(unanswered, format!("{call}: no answer in time")),
        SdkError::DispatchFailure(failure) => {
            let words = failure
                .as_connector_error()
                .map_or_else(|| "not sent".to_owned(), |error| chain(error));
            let kind = if failure.as_connector_error().is_some_and(|error| never_connected(error)) {
                ActionErrorKind::Transient
            } else {
                unanswered
            };
            ActionError::new(kind, format!("{call}: the connection failed: {words}"))
        }
        SdkError::ResponseError(cause) => {
            let status = cause.raw().status().as_u16();
            ActionError::new(unanswered, format!("{call}: the answer ({status}) could not be read"))
        }
        SdkError::ServiceError(cause) => {
            let status = cause.raw().status().as_u16();
            let code = cause.err().code().unwrap_or("unknown");
            let words = cause.err().message().unwrap_or("no message");
            let kind = if LATER.contains(&code) {
                ActionErrorKind::Transient
            } else if status >= 500 {
                unanswered
            } else {
                ActionErrorKind::Permanent
            };
            let mut made = ActionError::new(kind, format!("{call} was refused: {code}: {words}"));
            made.request_id = cause.err().meta().extra("aws_request_id").map(str::to_owned);
            made
        }
        _ => ActionError::new(unanswered, format!("{call}: {error:?}")),
    }
}

/// Whether there never was a connection: nothing can have been sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(client) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            return client.is_connect();
        }
        source = cause.source();
    }
    false
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// The code of a service's refusal.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    match error {
        SdkError::ServiceError(cause) => cause.err().code(),
        _ => None,
    }
}
