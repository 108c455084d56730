//! Certificates: good ones are shown, bad ones are told by what is wrong with them.

use pointsman::provider::action::ActionErrorKind::{Permanent, Transient};
use serde_json::{Value, json};

use crate::bench::{Bench, evidence, fails};
use crate::peers::{self, Authority, Shows};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Asks erp.test by https at a server that shows a certificate.
async fn asked(
    shows: Shows,
    more: Value,
) -> Result<pointsman::provider::action::Outcome, pointsman::provider::action::ActionError> {
    let port = peers::tls(shows, true, ANSWER).await;
    let mut with = json!({ "resolve": "127.0.0.1" });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Bench::default().http(&format!("https://erp.test:{port}/"), with).await
}

#[tokio::test]
async fn a_good_certificate_is_verified_and_shown() {
    let authority = Authority::new();
    let shows = authority.issues(&["erp.test", "127.0.0.1"], 60);
    let with = json!({ "ca": authority.file(), "tls_valid_for": "14d", "expect": "tls.days_left > 14" });
    let outcome = asked(shows, with).await.unwrap();
    let tls = &outcome.result["tls"];
    assert_eq!(tls["names"], json!(["erp.test", "127.0.0.1"]));
    // It ends with a day: up to one less is left.
    assert!(matches!(tls["days_left"].as_i64(), Some(59 | 60)), "{tls}");
    assert_eq!(tls["issuer"], "CN=Test Authority");
    let seen = evidence(&outcome, "answer");
    for words in [
        "certificate for erp.test, 127.0.0.1",
        "issued by CN=Test Authority",
        "the chain was verified",
    ] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    assert!(outcome.summary.contains("valid until"), "{}", outcome.summary);
}

#[tokio::test]
async fn a_certificate_that_ends_too_soon_is_told_with_its_days() {
    let authority = Authority::new();
    let with = json!({ "ca": authority.file(), "tls_valid_for": "14d" });
    let ended = asked(authority.issues(&["erp.test"], 10), with).await;
    fails(
        ended,
        Permanent,
        &[
            "certificate: certificate for erp.test",
            " days left), where 14 days are wanted",
            "have it renewed",
        ],
    );
}

#[tokio::test]
async fn each_bad_certificate_is_told_by_what_is_wrong_with_it() {
    let authority = Authority::new();
    let ca = json!({ "ca": authority.file() });
    let expired = authority.issues(&["erp.test"], -3);
    let words = [
        "the certificate has expired for erp.test",
        "expired 3 days ago",
        "have it renewed",
    ];
    fails(asked(expired, ca.clone()).await, Permanent, &words);
    let other = authority.issues(&["shop.test"], 60);
    let words = [
        "the certificate is for another name for erp.test",
        "certificate for shop.test",
        "ask by the name",
    ];
    fails(asked(other, ca.clone()).await, Permanent, &words);
    let own = peers::self_signed(&["erp.test"]);
    let words = [
        "the certificate is self-signed",
        "issued by itself",
        "name it under ca:",
    ];
    fails(asked(own, ca).await, Permanent, &words);
    let stranger = authority.issues(&["erp.test"], 60);
    let words = [
        "the certificate's issuer is not trusted here",
        "issued by CN=Test Authority",
        "CA under ca:",
    ];
    fails(asked(stranger, json!({})).await, Permanent, &words);
}

#[tokio::test]
async fn nothing_is_verified_only_where_the_runbook_says_so() {
    let shows = peers::self_signed(&["shop.test"]);
    let outcome = asked(shows, json!({ "tls_verify": false, "tls_valid_for": "14d" }))
        .await
        .unwrap();
    assert!(evidence(&outcome, "answer").contains("the chain was NOT verified"));
    let with = json!({ "url": "https://erp.test/", "tls_verify": false });
    let action = Bench::default().build("http.check", &[], &with).unwrap();
    let notes = action.preview().notes;
    assert!(
        notes.contains(&"the certificate's chain is NOT verified".to_owned()),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_bad_certificate_may_be_replaced_within_the_time() {
    let authority = Authority::new();
    let with = json!({ "ca": authority.file(), "within": "30ms", "every": "10ms" });
    let ended = asked(authority.issues(&["erp.test"], -3), with).await;
    fails(
        ended,
        Permanent,
        &["not within 30 ms, asked ", "the certificate has expired"],
    );
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_told_as_such() {
    let port = peers::says(ANSWER).await;
    let ended = Bench::default()
        .http(&format!("https://127.0.0.1:{port}/"), json!({}))
        .await;
    fails(
        ended,
        Permanent,
        &["TLS could not be agreed on", "see whether that port speaks TLS"],
    );
}

#[tokio::test]
async fn a_file_without_certificates_is_no_ca() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let with = json!({ "ca": file, "within": "1h" });
        let ended = Bench::default().http("https://127.0.0.1:9/", with).await;
        fails(
            ended,
            Permanent,
            &["pem", "write the path of a file with PEM certificates"],
        );
    }
}

#[tokio::test]
async fn tcp_reads_a_certificate_and_what_comes_through_tls() {
    let authority = Authority::new();
    let port = peers::tls(authority.issues(&["mail.test"], 60), false, b"220 mail.test ESMTP\r\n").await;
    let with = json!({
        "tls_valid_for": "14d", "ca": authority.file(), "server_name": "mail.test", "expect": "'ESMTP' in banner",
    });
    let outcome = Bench::default().tcp(port, with).await.unwrap();
    assert_eq!(outcome.result["banner"], "220 mail.test ESMTP\r\n");
    assert_eq!(outcome.result["tls"]["names"], json!(["mail.test"]));
    let seen = evidence(&outcome, "connection");
    assert!(
        seen.contains("certificate for mail.test") && seen.contains("the chain was verified"),
        "{seen}"
    );
}

#[tokio::test]
async fn tcp_tells_bad_certificates_and_their_end() {
    let authority = Authority::new();
    let bench = Bench::default();
    let ca = authority.file();
    let port = peers::tls(authority.issues(&["127.0.0.1"], -3), false, b"").await;
    fails(
        bench.tcp(port, json!({ "tls": true, "ca": ca })).await,
        Permanent,
        &["the certificate has expired"],
    );
    let port = peers::tls(authority.issues(&["127.0.0.1"], 10), false, b"").await;
    let soon = json!({ "tls_valid_for": "14d", "ca": ca });
    fails(
        bench.tcp(port, soon).await,
        Permanent,
        &["where 14 days are wanted", "have it renewed"],
    );
    let port = peers::tls(authority.issues(&["shop.test"], 60), false, b"").await;
    fails(
        bench.tcp(port, json!({ "tls": true, "ca": ca })).await,
        Permanent,
        &["for another name"],
    );
    let port = peers::says(b"220 plain ESMTP\r\n").await;
    let plain = json!({ "tls": true, "ca": ca });
    fails(
        bench.tcp(port, plain).await,
        Permanent,
        &["TLS could not be agreed on", "from the first byte on"],
    );
    let port = peers::says(b"").await;
    let silent = json!({ "tls": true, "connects_within": "200ms", "ca": ca });
    fails(
        bench.tcp(port, silent).await,
        Transient,
        &["does not speak TLS in time"],
    );
}
