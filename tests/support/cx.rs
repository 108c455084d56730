//! What an action gets from the engine, for suites that call it without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use pointsman::provider::action::{Cx, Reporter};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A first attempt that changes something; `key` is its idempotency key, `identity` what an approval bound.
pub fn cx(key: &str, identity: Value, speed: f64, cancel: &CancellationToken, reporter: Arc<dyn Reporter>) -> Cx {
    Cx {
        run: "run".to_owned(),
        step: "step".to_owned(),
        attempt: 1,
        key: key.to_owned(),
        intent_at: Utc::now(),
        identity,
        forward: Value::Null,
        acked: None,
        mutates: true,
        answers: BTreeMap::new(),
        target_written: false,
        cancel: cancel.clone(),
        speed,
        reporter,
    }
}
