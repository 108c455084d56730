//! The old and the new application: the same program behind two loopback addresses and one port.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cloud::Cloud;
use super::cloudwatch::Hits;
use super::endpoints::{NEW, OLD};
use super::fault::Fault;
use super::route53::new_share;
use super::world::LabError;

/// Opens the same port on both addresses: `wanted`, or any.
pub async fn bind(wanted: u16) -> Result<(TcpListener, TcpListener, u16), LabError> {
    for port in [wanted, 0, 0, 0, 0, 0] {
        let Ok(old) = TcpListener::bind((OLD, port)).await else {
            continue;
        };
        let port = old.local_addr()?.port();
        if let Ok(new) = TcpListener::bind((NEW, port)).await {
            return Ok((old, new, port));
        }
    }
    Err(LabError::State(format!("no port is free on both {OLD} and {NEW}")))
}

/// Serves one side until it is asked to end.
pub async fn serve(
    (cloud, hits): (Arc<Cloud>, Arc<Hits>),
    side: &'static str,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let health = move || {
        let hits = hits.clone();
        let answering = answer(cloud.clone(), side);
        async move {
            let (status, body) = answering.await;
            hits.note(side, status.is_success());
            (status, body)
        }
    };
    let router = Router::new()
        .route("/health", get(health.clone()))
        .route("/", get(health));
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, side, "the lab's application ended");
    }
}

async fn answer(cloud: Arc<Cloud>, side: &'static str) -> (StatusCode, Json<Value>) {
    let loaded = || new_share(&cloud).is_ok_and(|share| share >= 25.0);
    let sick =
        side == "new" && (cloud.has(Fault::TargetUnhealthy) || (cloud.has(Fault::TargetUnhealthyAfter25) && loaded()));
    let (code, status) = if sick {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else {
        (StatusCode::OK, "ok")
    };
    (
        code,
        Json(json!({ "side": side, "status": status, "database": status })),
    )
}
