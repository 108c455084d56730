//! What `http.check` asks, demands and shows over plain HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{any, get};
use pointsman::provider::action::ActionErrorKind::Permanent;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, evidence, fails};
use crate::peers;

/// Remembers what it was asked: method, path and headers.
type Asked = Arc<Mutex<Vec<(String, String, axum::http::HeaderMap)>>>;

async fn remembering() -> (String, Asked) {
    let asked = Asked::default();
    let notes = asked.clone();
    let router = Router::new().fallback(any(move |request: Request| {
        let note = (
            request.method().to_string(),
            request.uri().path().to_owned(),
            request.headers().clone(),
        );
        notes.lock().unwrap().push(note);
        async { "ok" }
    }));
    (peers::web(router).await, asked)
}

#[tokio::test]
async fn a_status_may_be_a_number_a_class_or_several() {
    let router = Router::new()
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/moved", get(|| async { Redirect::to("/empty") }));
    let base = peers::web(router).await;
    let bench = Bench::app(&base, &[]);
    for status in [
        json!(204),
        json!("204"),
        json!("2xx"),
        json!([200, 204]),
        json!(["3xx", "2xx"]),
    ] {
        let with = json!({ "path": "/empty", "status": status });
        let outcome = bench.run("http.check", &["app"], with).await.unwrap();
        assert_eq!(outcome.result["status"], 204);
    }
    let wrong = json!({ "path": "/empty", "status": [200, "3xx"] });
    fails(
        bench.run("http.check", &["app"], wrong).await,
        Permanent,
        &["status: 204 where 200 or 3xx is wanted"],
    );
    let moved = bench.run("http.check", &["app"], json!({ "path": "/moved" })).await;
    fails(
        moved,
        Permanent,
        &["status: 303 where 200 is wanted", "follow_redirects: true"],
    );
    let followed = json!({ "path": "/moved", "status": 204, "follow_redirects": true });
    let outcome = bench.run("http.check", &["app"], followed).await.unwrap();
    assert_eq!(outcome.result["url"], format!("{base}/empty"));
    assert!(evidence(&outcome, "answer").contains(&format!("redirected to {base}/empty")));
    for bad in [json!(99), json!("6xx"), json!("2x"), json!([]), json!(true)] {
        let refused = bench.build("http.check", &["app"], &json!({ "status": bad }));
        assert!(refused.is_err(), "{bad} is no status");
    }
}

#[tokio::test]
async fn a_predicate_sees_json_text_and_headers() {
    let router = Router::new()
        .route(
            "/json",
            get(|| async { ([("x-side", "new")], "{\"version\":\"2\",\"queue\":0}") }),
        )
        .route("/text", get(|| async { "status: ready\n" }));
    let bench = Bench::app(&peers::web(router).await, &[]);
    for (path, expect) in [
        ("/json", "json.version == '2' and json.queue == 0"),
        ("/json", "headers['x-side'] == 'new'"),
        ("/text", "'ready' in body"),
        ("/text", "status == 200 and latency_ms < 60000"),
    ] {
        let with = json!({ "path": path, "expect": expect });
        bench.run("http.check", &["app"], with).await.unwrap();
    }
    let wrong = json!({ "path": "/json", "expect": "json.version == '3'" });
    let seen = "(the body begins: {\"version\":\"2\",\"queue\":0})";
    let words = ["body: json.version == '3' does not hold", seen];
    fails(bench.run("http.check", &["app"], wrong).await, Permanent, &words);
    let unknown = json!({ "path": "/text", "expect": "json.version > 2" });
    let words = [
        "body: json.version > 2 cannot be told",
        "status: ready",
        "JSON is under json",
    ];
    fails(bench.run("http.check", &["app"], unknown).await, Permanent, &words);
}

#[tokio::test]
async fn every_demand_that_fails_is_told() {
    let base = peers::web(Router::new().route("/", get(|| async { "old" }))).await;
    let slow = json!({ "latency_below": "0s", "samples": 5 });
    let words = ["latency: p50 ", " of 5 where less than 0 s is wanted (p95 counts)"];
    fails(Bench::default().http(&base, slow).await, Permanent, &words);
    let quick = json!({ "latency_below": "1h", "samples": 5 });
    let outcome = Bench::default().http(&base, quick).await.unwrap();
    let (p50, p95) = (
        outcome.result["latency_p50_ms"].as_u64(),
        outcome.result["latency_p95_ms"].as_u64(),
    );
    assert!(p50.is_some() && p50 <= p95, "{p50:?} {p95:?}");
    assert!(outcome.summary.contains(" ms of 5"), "{}", outcome.summary);
}

#[tokio::test]
async fn head_asks_for_no_body() {
    let (base, asked) = remembering().await;
    let with = json!({ "path": "/x", "method": "HEAD", "headers": { "Accept": "text/plain" } });
    let outcome = Bench::app(&base, &[]).run("http.check", &["app"], with).await.unwrap();
    assert_eq!(outcome.result["body"], "");
    let asked = asked.lock().unwrap();
    assert_eq!((asked[0].0.as_str(), asked[0].1.as_str()), ("HEAD", "/x"));
    assert_eq!(asked[0].2["accept"], "text/plain");
}

#[tokio::test]
async fn what_a_connection_authenticates_with_is_sent_to_it_alone_and_never_shown() {
    let (elsewhere, others) = remembering().await;
    let away = format!("{elsewhere}/landed");
    let (router, seen) = (Router::new(), Asked::default());
    let notes = seen.clone();
    let router = router.fallback(any(move |request: Request| {
        let note = (
            String::new(),
            request.uri().path().to_owned(),
            request.headers().clone(),
        );
        notes.lock().unwrap().push(note);
        let away = away.clone();
        async move { ([("set-cookie", "sid=cookie-of-mine")], Redirect::to(&away)) }
    }));
    let base = peers::web(router).await;
    let secret = "Bearer s3cret-token";
    let bench = Bench::app(&base, &[("authorization", secret)]);
    let followed = json!({ "path": "/", "follow_redirects": true });
    let action = bench.build("http.check", &["app"], &followed).unwrap();
    let preview = action.preview();
    assert!(preview.notes.contains(&"sends authorization".to_owned()), "{preview:?}");
    assert!(!format!("{preview:?} {:?}", bench.connections).contains("s3cret"));
    let outcome = bench.run("http.check", &["app"], followed).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].2["authorization"], secret);
    let landed = others.lock().unwrap().remove(0);
    assert_eq!(landed.1, "/landed");
    assert!(
        !landed.2.contains_key("authorization"),
        "another origin got the secret: {:?}",
        landed.2
    );
    let first = bench
        .run("http.check", &["app"], json!({ "path": "/", "status": 303 }))
        .await
        .unwrap();
    assert!(
        evidence(&first, "answer").contains("set-cookie: [withheld]"),
        "{}",
        evidence(&first, "answer")
    );
    for outcome in [outcome, first] {
        let all = format!("{outcome:?} {}", evidence(&outcome, "answer"));
        assert!(!all.contains("s3cret") && !all.contains("cookie-of-mine"), "{all}");
    }
    let unverified = bench.build("http.check", &["app"], &json!({ "tls_verify": false }));
    let error = unverified.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("to nobody knows whom"), "{error}");
}

#[tokio::test]
async fn a_name_can_be_asked_at_an_address_before_dns_says_so() {
    let (base, asked) = remembering().await;
    let port = base.rsplit(':').next().unwrap();
    let url = format!("http://erp.example.com:{port}/health");
    let outcome = Bench::default()
        .http(&url, json!({ "resolve": "127.0.0.1" }))
        .await
        .unwrap();
    assert!(outcome.summary.starts_with(&url), "{}", outcome.summary);
    assert_eq!(asked.lock().unwrap()[0].2["host"], format!("erp.example.com:{port}"));
}

#[tokio::test]
async fn an_address_is_given_for_one_name_and_not_for_where_it_sends_us() {
    let (base, _asked) = remembering().await;
    let there = base.rsplit(':').next().unwrap().to_owned();
    let port = peers::each("::1", move |mut stream| {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: http://localhost:{there}/\r\ncontent-length: 0\r\n\r\n");
        async move {
            peers::asked(&stream).await;
            let _gone = stream.write_all(head.as_bytes()).await;
            peers::until_gone(&mut stream).await;
        }
    })
    .await;
    let with = json!({ "resolve": "::1", "follow_redirects": true });
    let url = format!("http://erp.example.com:{port}/");
    let outcome = Bench::default().confined().http(&url, with).await.unwrap();
    assert!(
        evidence(&outcome, "answer").contains("answered by 127.0.0.1:"),
        "{}",
        outcome.summary
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let bench = Bench::app("http://127.0.0.1:9", &[]);
    for (on, with, words) in [
        (vec![], json!({ "url": "ftp://example.com/" }), "no http or https URL"),
        (
            vec![],
            json!({ "url": "http://ana:pass@127.0.0.1/" }),
            "carries no credentials",
        ),
        (vec![], json!({ "path": "/" }), "give a connection and a path"),
        (
            vec!["app"],
            json!({ "url": "http://127.0.0.1/" }),
            "give a connection and a path",
        ),
        (vec!["app"], json!({ "tls_valid_for": "14d" }), "needs an https url"),
        (vec!["app"], json!({ "method": "POST" }), "by GET or HEAD"),
        (
            vec!["app"],
            json!({ "headers": { "x": "a\nb" } }),
            "the value of header x",
        ),
        (vec!["app"], json!({ "resolve": "127.0.0.1" }), "has none"),
    ] {
        let error = bench.build("http.check", &on, &with).err();
        let error = error.unwrap_or_else(|| panic!("{with} is taken")).to_string();
        assert!(error.contains(words), "{with}: {error}");
        assert!(!error.contains("pass"), "{error}");
    }
    // A path cannot become a part of the host.
    let action = bench
        .build("http.check", &["app"], &json!({ "path": "@example.com/" }))
        .unwrap();
    assert_eq!(action.preview().commands, ["GET http://127.0.0.1:9/@example.com/"]);
}
