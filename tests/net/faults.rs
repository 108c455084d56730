//! Every fault of the network that a check meets: its class, and words that say what was seen and what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use pointsman::provider::action::ActionErrorKind::{Cancelled, Permanent, Transient};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{Bench, evidence, fails};
use crate::peers;

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

#[tokio::test]
async fn a_refused_connection_may_be_tried_again() {
    let ended = Bench::default().http(&at(peers::closed().await), json!({})).await;
    fails(
        ended,
        Transient,
        &["the connection is refused", "start the server, or correct the port"],
    );
}

#[tokio::test]
async fn a_reset_connection_may_be_tried_again() {
    let ended = Bench::default().http(&at(peers::resets().await), json!({})).await;
    fails(
        ended,
        Transient,
        &["the connection was reset", "look at the server's log"],
    );
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_may_be_tried_again() {
    let port = peers::each("127.0.0.1", |mut stream| async move {
        let mut buffer = [0_u8; 4096];
        let _asked = stream.read(&mut buffer).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
    })
    .await;
    let ended = Bench::default().http(&at(port), json!({})).await;
    fails(ended, Transient, &["the connection ended before the answer did"]);
}

#[tokio::test]
async fn an_error_that_passes_within_the_time_is_waited_out() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let router = Router::new().route(
        "/health",
        get(move || async move {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => (StatusCode::INTERNAL_SERVER_ERROR, "starting").into_response(),
                _ => "{\"version\":\"2\"}".into_response(),
            }
        }),
    );
    let base = peers::web(router).await;
    let bench = Bench::app(&base, &[]);
    let with = json!({ "path": "/health", "expect": "json.version == '2'", "within": "30s", "every": "10ms" });
    let outcome = bench.run("http.check", &["app"], with).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(
        outcome.summary.contains("json.version == '2' holds"),
        "{}",
        outcome.summary
    );
    let states = bench.heard.states.lock().unwrap().clone();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(
        states[0].contains("status: 500 where 200 is wanted (the body begins: starting)"),
        "{states:?}"
    );
}

#[tokio::test]
async fn an_error_that_stays_is_told_when_the_time_is_over() {
    let base = peers::web(Router::new()).await;
    let with = json!({ "path": "/health", "within": "50ms", "every": "10ms" });
    let ended = Bench::app(&base, &[]).run("http.check", &["app"], with).await;
    fails(
        ended,
        Permanent,
        &[
            "not within 50 ms",
            "at last: ",
            "status: 404 where 200 is wanted",
            "correct the path",
        ],
    );
}

#[tokio::test]
async fn a_server_that_asks_to_be_left_alone_is_asked_once_more_at_the_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let router = Router::new().route(
        "/",
        get(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")], "busy")
        }),
    );
    let with = json!({ "within": "200ms", "every": "1ms" });
    let ended = Bench::default().http(&peers::web(router).await, with).await;
    fails(ended, Permanent, &["asked 2 times", "status: 503"]);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn silence_ends_with_the_time_of_a_request() {
    let port = peers::says(b"").await;
    let ended = Bench::default()
        .http(&at(port), json!({ "request_timeout": "100ms" }))
        .await;
    fails(
        ended,
        Transient,
        &["no answer within 100 ms", "see whether the server lives"],
    );
}

#[tokio::test]
async fn silence_does_not_outlast_the_deadline() {
    let port = peers::says(b"").await;
    // A request may take an hour; the deadline ends it after the second that a question gets at least.
    let with = json!({ "request_timeout": "1h", "within": "100ms" });
    fails(
        Bench::default().http(&at(port), with).await,
        Permanent,
        &["not within 100 ms", "no answer within 1 s"],
    );
}

#[tokio::test]
async fn a_question_ends_when_the_check_is_cancelled() {
    let bench = Bench::default();
    let port = peers::each("127.0.0.1", {
        let cancel = bench.cancel.clone();
        move |mut stream| {
            let cancel = cancel.clone();
            async move {
                peers::asked(&stream).await;
                cancel.cancel();
                peers::until_gone(&mut stream).await;
            }
        }
    })
    .await;
    let error = bench
        .http(&at(port), json!({ "request_timeout": "1h" }))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Cancelled, "{}", error.message);
}

#[tokio::test]
async fn what_is_no_http_is_told_as_such() {
    // Some speak before they are asked, some after.
    let greets = peers::says(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let answers = peers::each("127.0.0.1", |mut stream| async move {
        peers::asked(&stream).await;
        let _gone = stream.write_all(b"\x15\x03\x03\x00\x02\x02\x46").await;
        peers::until_gone(&mut stream).await;
    })
    .await;
    for port in [greets, answers] {
        let ended = Bench::default().http(&at(port), json!({})).await;
        fails(ended, Permanent, &["what answers is no HTTP", "see what listens there"]);
    }
}

#[tokio::test]
async fn a_huge_body_is_not_read_to_its_end() {
    let router = Router::new().route("/", get(|| async { "x".repeat(3 * 1024 * 1024) }));
    let base = peers::web(router).await;
    let bench = Bench::default();
    let outcome = bench.http(&base, json!({})).await.unwrap();
    assert_eq!(outcome.result["body"].as_str().unwrap().len(), 1024 * 1024);
    assert_eq!(evidence(&outcome, "body"), "x".repeat(1024));
    assert!(evidence(&outcome, "answer").contains("body: more than 1048576 bytes"));
    let ended = bench.http(&base, json!({ "expect": "'y' not in body" })).await;
    fails(
        ended,
        Permanent,
        &["larger than 1024 KiB, so 'y' not in body cannot be told"],
    );
}

#[tokio::test]
async fn a_body_that_does_not_end_is_left() {
    let port = peers::each("127.0.0.1", |mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        peers::asked(&stream).await;
        let _gone = stream.write_all(head).await;
        peers::until_gone(&mut stream).await;
    })
    .await;
    let ended = Bench::default()
        .http(&at(port), json!({ "request_timeout": "200ms" }))
        .await;
    fails(
        ended,
        Transient,
        &["answers 200, but its body did not end within 200 ms (4 bytes came)"],
    );
}

#[tokio::test]
async fn redirects_in_a_circle_are_shown_whole() {
    let router = Router::new()
        .route("/a", get(|| async { Redirect::to("/b") }))
        .route("/b", get(|| async { Redirect::to("/a") }));
    let base = peers::web(router).await;
    let ended = Bench::default()
        .http(&format!("{base}/a"), json!({ "follow_redirects": true }))
        .await;
    let circle = format!("{base}/a → {base}/b → {base}/a");
    fails(ended, Permanent, &["the redirects run in a circle", &circle]);
}

#[tokio::test]
async fn redirects_without_end_are_not_followed_for_ever() {
    let next = |axum::extract::Path(number): axum::extract::Path<u32>| async move {
        Redirect::to(&format!("/{}", number + 1))
    };
    let base = peers::web(Router::new().route("/{number}", get(next))).await;
    let ended = Bench::default()
        .http(&format!("{base}/0"), json!({ "follow_redirects": true }))
        .await;
    fails(ended, Permanent, &["more than 10 redirects", "/9 → "]);
}

#[tokio::test]
async fn ipv6_is_asked_like_anything_else() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let port = peers::each("::1", move |mut stream| async move {
        peers::asked(&stream).await;
        let _gone = stream.write_all(answer).await;
        peers::until_gone(&mut stream).await;
    })
    .await;
    let bench = Bench::default().confined();
    let outcome = bench.http(&format!("http://[::1]:{port}/"), json!({})).await.unwrap();
    assert_eq!(outcome.result["body"], "ok");
    assert!(evidence(&outcome, "answer").contains(&format!("answered by [::1]:{port}")));
    let with = json!({ "host": "::1", "port": port });
    let outcome = bench.run("tcp.check", &[], with).await.unwrap();
    assert_eq!(outcome.result["address"], format!("[::1]:{port}"));
}

/// 192.0.2.0/24 is for documentation (RFC 5737): a check that went there would be silent, and not refused at once.
#[tokio::test]
async fn the_lab_reaches_nothing_but_loopback() {
    let bench = Bench::default().confined();
    let words = ["192.0.2.7", "the lab reaches nothing but loopback", "use on: app"];
    let never = json!({ "within": "5s" });
    fails(bench.http("http://192.0.2.7/", never).await, Permanent, &words);
    let pinned = json!({ "resolve": "192.0.2.7", "within": "5s" });
    fails(bench.http("http://localhost/", pinned).await, Permanent, &words);
    let tcp = json!({ "host": "192.0.2.7", "port": 9, "within": "5s", "expect_refused": true });
    fails(bench.run("tcp.check", &[], tcp).await, Permanent, &words);
    let router = Router::new().route("/", get(|| async { Redirect::to("http://192.0.2.7/") }));
    let away = json!({ "follow_redirects": true, "within": "5s" });
    fails(bench.http(&peers::web(router).await, away).await, Permanent, &words);
}
