//! The AWS endpoint: one loopback port for RDS, STS, DMS and Route 53. Notes every request before it answers. A lost
//! reply closes the connection after the effect; one that stalls comes when it is let go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cloud::Cloud;
use super::cloudwatch::{Hits, Measured};
use super::endpoints::NEW;
use super::fault::Fault;
use super::replicator::Tables;
use super::requests::{Requests, Served};
use super::world::LabError;
use super::xml::{Answer, refusal};
use super::{dms, iam, rds, route53};

/// The largest request.
const LARGEST: usize = 1024 * 1024;

/// The file that says that a reply is kept back.
const STALLED: &str = "stalled";
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// What the endpoint needs.
pub struct Gateway {
    pub cloud: Arc<Cloud>,
    pub requests: Requests,
    pub tables: Tables,
    /// The lab's folder.
    pub folder: PathBuf,
    pub hits: Arc<Hits>,
}

/// When a request is answered.
enum Reply {
    Now(Answer),
    /// Once nobody keeps the file [`STALLED`].
    LetGo(Answer),
    Never,
}

/// A reply that is lost on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost")]
struct Lost;

/// Serves until it is asked to end.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (gateway, stop) = (gateway.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(gateway.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stop.cancelled() => {}
                // A lost reply ends here too: the connection is closed without one.
                _ended = connection => {}
            }
        });
    }
}

async fn handle(gateway: Arc<Gateway>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), LARGEST).await else {
        return Ok(response(refusal(413, "RequestEntityTooLarge", "too large")));
    };
    let stalled = gateway.folder.join(STALLED);
    let worked = tokio::task::spawn_blocking(move || gateway.serve_one(&parts, &body)).await;
    match worked {
        Ok(Ok(Reply::Now(answer))) => Ok(response(answer)),
        Ok(Ok(Reply::LetGo(answer))) => {
            while stalled.exists() {
                tokio::time::sleep(GLANCE).await;
            }
            Ok(response(answer))
        }
        Ok(Ok(Reply::Never)) => Err(Lost),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the lab cannot answer");
            Ok(response(refusal(500, "InternalFailure", &error.to_string())))
        }
        Err(error) => Ok(response(refusal(500, "InternalFailure", &error.to_string()))),
    }
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(kind) = answer.kind.parse() {
        headers.insert("content-type", kind);
    }
    if let Ok(id) = format!("lab-{:016x}", rand::random::<u64>()).parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

struct Call {
    service: &'static str,
    operation: String,
    mutating: bool,
    name: Option<String>,
    params: Value,
}

impl Gateway {
    /// One request.
    fn serve_one(&self, parts: &Parts, body: &Bytes) -> Result<Reply, LabError> {
        let text = String::from_utf8_lossy(body).into_owned();
        let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let call = call(parts, &text, &form, &json);
        let throttled = call.mutating && self.cloud.use_up(Fault::ThrottleOnce, call.service)?;
        let answer = if throttled {
            throttle(call.service)
        } else {
            match call.service {
                "route53" => {
                    let query = parts.uri.query().unwrap_or_default();
                    route53::answer(&self.cloud, parts.method.as_str(), parts.uri.path(), query, &text)?
                }
                "dms" => dms::answer(&self.cloud, &self.tables, &call.operation, &json)?,
                "cloudwatch" => {
                    let measured = Measured {
                        cloud: &self.cloud,
                        tables: &self.tables,
                        hits: &self.hits,
                    };
                    measured.answer(&call.operation, &form)?
                }
                "iam" => iam::answer(&self.cloud, &call.operation, &form),
                _ => rds::answer(&self.cloud, &call.operation, &form)?,
            }
        };
        let lost = answer.changed && self.loses(&call)?;
        let stalls = answer.changed
            && call.operation == "CreateDBSnapshot"
            && self.cloud.use_up(Fault::SnapshotReplyStalls, "")?;
        self.requests.note(&Served {
            t: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            service: call.service,
            operation: call.operation,
            mutating: call.mutating,
            changed: answer.changed,
            name: call.name,
            params: call.params,
            status: answer.status,
        })?;
        if stalls {
            let path = self.folder.join(STALLED);
            std::fs::write(&path, "").map_err(|source| LabError::io(&path, source))?;
        }
        Ok(match (lost, stalls) {
            (true, _) => Reply::Never,
            (false, true) => Reply::LetGo(answer),
            (false, false) => Reply::Now(answer),
        })
    }

    fn loses(&self, call: &Call) -> Result<bool, LabError> {
        let fault = match call.operation.as_str() {
            "CreateDBSnapshot" => Fault::SnapshotReplyLost,
            "StartReplicationTask" => Fault::DmsStartReplyLost,
            "ChangeResourceRecordSets" => {
                let flips = call.params.as_str().is_some_and(|text| text.contains(NEW));
                if flips && self.cloud.use_up(Fault::DnsFlipReplyLost, "")? {
                    return Ok(true);
                }
                Fault::DnsChangeReplyLost
            }
            _ => return Ok(false),
        };
        self.cloud.use_up(fault, "")
    }
}

fn throttle(service: &str) -> Answer {
    match service {
        "dms" => super::xml::json(
            400,
            &serde_json::json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }),
            false,
        ),
        _ => refusal(400, "Throttling", "Rate exceeded"),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn call(parts: &Parts, text: &str, form: &BTreeMap<String, String>, json: &Value) -> Call {
    if parts.uri.path().starts_with("/2013-04-01/") {
        let (operation, mutating) = route53::operation(parts.method.as_str(), parts.uri.path());
        let name = if mutating { route53::comment(text) } else { None };
        let params = Value::String(format!("{} {text}", parts.uri));
        return Call {
            service: "route53",
            operation: operation.to_owned(),
            mutating,
            name,
            params,
        };
    }
    if let Some(("AmazonDMSv20160101", operation)) = header(&parts.headers, "x-amz-target").split_once('.') {
        let mutating = matches!(operation, "StartReplicationTask" | "StopReplicationTask");
        let kind = json
            .get("StartReplicationTaskType")
            .and_then(Value::as_str)
            .unwrap_or("stop");
        let name = mutating.then(|| format!("LABTASK {kind}"));
        return Call {
            service: "dms",
            operation: operation.to_owned(),
            mutating,
            name,
            params: json.clone(),
        };
    }
    let operation = form.get("Action").cloned().unwrap_or_default();
    let service = match form.get("Version").map(String::as_str) {
        Some("2011-06-15") => "sts",
        Some("2010-05-08") => "iam",
        Some("2010-08-01") => "cloudwatch",
        Some(_) | None => "rds",
    };
    // What names no operation changes nothing; a simulation does not either.
    let mutating = !operation.is_empty() && rds::answer::mutates(&operation) && operation != "SimulatePrincipalPolicy";
    let name = rds::answer::name(&operation, form).filter(|_| mutating);
    let params = form
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.clone())))
        .collect::<Map<_, _>>();
    Call {
        service,
        operation,
        mutating,
        name,
        params: Value::Object(params),
    }
}
