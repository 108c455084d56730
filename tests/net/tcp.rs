//! What `tcp.check` proves: that something listens, or that nothing does any more.

use pointsman::provider::action::ActionErrorKind::{Permanent, Transient};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::bench::{Bench, evidence, fails};
use crate::peers;

#[tokio::test]
async fn a_listener_accepts() {
    let port = peers::says(b"").await;
    let outcome = Bench::default().tcp(port, json!({})).await.unwrap();
    assert_eq!(outcome.result["refused"], false);
    assert!(evidence(&outcome, "connection").contains(&format!("127.0.0.1:{port} (127.0.0.1:{port}) accepts in ")));
}

#[tokio::test]
async fn nobody_there_may_be_tried_again() {
    let ended = Bench::default().tcp(peers::closed().await, json!({})).await;
    fails(
        ended,
        Transient,
        &["does not accept", "refused", "start what should listen there"],
    );
}

#[tokio::test]
async fn a_refusal_proves_that_the_old_listener_is_closed() {
    let port = peers::closed().await;
    let outcome = Bench::default()
        .tcp(port, json!({ "expect_refused": true }))
        .await
        .unwrap();
    assert_eq!(outcome.result["refused"], true);
    assert!(outcome.summary.contains("refuses connections"), "{}", outcome.summary);
    let open = peers::says(b"").await;
    let ended = Bench::default().tcp(open, json!({ "expect_refused": true })).await;
    fails(
        ended,
        Permanent,
        &["still accepts connections", "stop what listens there"],
    );
}

#[tokio::test]
async fn an_old_listener_is_waited_for_until_it_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::default();
    let heard = bench.heard.clone();
    let closes = async move {
        heard.told.notified().await;
        drop(listener);
    };
    let with = json!({ "expect_refused": true, "within": "30s", "every": "10ms" });
    let (ended, ()) = tokio::join!(bench.tcp(port, with), closes);
    ended.unwrap();
    assert!(bench.heard.states.lock().unwrap()[0].contains("still accepts"));
}

#[tokio::test]
async fn a_banner_is_read_until_it_says_what_is_expected() {
    let port = peers::each("127.0.0.1", |mut stream| async move {
        stream.set_nodelay(true).unwrap();
        let _gone = stream.write_all(b"220 mail.test ").await;
        let _gone = stream.write_all(b"ESMTP\r\n").await;
        peers::until_gone(&mut stream).await;
    })
    .await;
    let bench = Bench::default();
    let outcome = bench.tcp(port, json!({ "expect": "'ESMTP' in banner" })).await.unwrap();
    assert!(
        outcome.result["banner"]
            .as_str()
            .unwrap()
            .starts_with("220 mail.test ESMTP")
    );
    let with = json!({ "expect": "'SSH-2.0' in banner", "connects_within": "300ms" });
    let words = ["banner: 'SSH-2.0' in banner does not hold of \"220 mail.test ESMTP\" (nothing more came in time)"];
    fails(bench.tcp(port, with).await, Permanent, &words);
    let mute = peers::each("127.0.0.1", |stream| async move { drop(stream) }).await;
    let ended = bench.tcp(mute, json!({ "expect": "'x' in banner" })).await;
    fails(ended, Permanent, &["does not hold of \"\" (it says no more)"]);
    let long: &'static [u8] = Box::leak(vec![b'x'; 4096].into_boxed_slice());
    let ended = bench
        .tcp(peers::says(long).await, json!({ "expect": "'y' in banner" }))
        .await;
    fails(ended, Permanent, &["(its first KiB is read)"]);
}

#[tokio::test]
async fn a_connection_brings_host_and_port() {
    let port = peers::says(b"").await;
    let bench = Bench::app(&format!("http://127.0.0.1:{port}/some/path"), &[]);
    let outcome = bench.run("tcp.check", &["app"], json!({})).await.unwrap();
    assert_eq!(outcome.result["address"], format!("127.0.0.1:{port}"));
    let other = json!({ "port": peers::closed().await, "expect_refused": true });
    bench.run("tcp.check", &["app"], other).await.unwrap();
    for with in [
        json!({ "host": "127.0.0.1" }),
        json!({ "port": 9 }),
        json!({ "host": "127.0.0.1", "port": 9, "expect_refused": true, "tls": true }),
        json!({ "host": "127.0.0.1", "port": 9, "expect_refused": true, "expect": "banner == ''" }),
        json!({ "host": "127.0.0.1", "port": 9, "tls": true, "server_name": "no name" }),
    ] {
        assert!(bench.build("tcp.check", &[], &with).is_err(), "{with} is taken");
    }
}
