//! What somebody else changes while an effect of ours is under way is found, said and left alone: while a change settles,
//! while caches are waited for, while a stage is held.

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::dns::records::RecordSet;
use pointsman::provider::dns::stages::share_of;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::shift::{SPEED, shift};

/// The settling of a change takes a minute at most at this pace, so that a foreign change always comes within it.
const SLOW: f64 = 10.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_change_while_a_stage_settles_stops_the_shift_and_is_left_alone() {
    let mut bench = Bench::lab(SLOW, &[]).await;
    let _silent = bench.silence_the_authority();
    let action = bench.on_record("dns.shift", shift(json!({})));
    let identity = action.check(&bench.cx("pm-shift", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-shift", identity);
    let running = tokio::spawn(async move { (action.execute(&cx).await, action, cx) });
    bench.wait_until_accepted();
    bench.meddle(&[]).await;
    let (stopped, action, cx) = running.await.unwrap();
    let stopped = stopped.unwrap();
    let words = stopped.result["breach"]["words"].as_str().unwrap().to_owned();
    assert!(words.contains("changed by somebody else: now nothing"), "{words}");
    assert_eq!(stopped.result["reached"], Value::Null, "{}", stopped.summary);
    assert!(
        stopped.summary.contains("as somebody else left it: nothing"),
        "{}",
        stopped.summary
    );
    assert!(bench.standing().await.is_empty(), "theirs stands");
    assert_eq!(bench.changes(), ["pm-shift at 5", "pm-theirs"]);
    let failed = action.prove(&cx).await.unwrap_err();
    assert!(failed.message.contains("stands at no stage"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_change_while_a_stage_is_held_stops_the_shift_and_is_left_alone() {
    let bench = Bench::lab(SPEED, &[]).await;
    let action = bench.on_record("dns.shift", shift(json!({ "hold": "20m" })));
    let identity = action.check(&bench.cx("pm-shift", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-shift", identity);
    let running = tokio::spawn(async move { action.execute(&cx).await });
    bench.wait_until_told("resolutions new");
    let theirs = bench.meddle(&["127.0.0.3"]).await;
    let stopped = running.await.unwrap().unwrap();
    let words = stopped.result["breach"]["words"].as_str().unwrap().to_owned();
    assert!(
        words.contains("changed by somebody else: now erp.lab.test. A TTL 10"),
        "{words}"
    );
    assert_eq!(bench.standing().await, theirs, "theirs stands");
    assert_eq!(bench.changes(), ["pm-shift at 5", "pm-theirs"]);
}

/// A flip that meets `theirs` once Route 53 accepted it: how it ends, and what it says of the record.
async fn met(bench: &Bench, more: Value, wait: impl FnOnce(&Bench), theirs: &[&str]) -> (String, Vec<RecordSet>) {
    let mut with = json!({ "to": ["127.0.0.2"] });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let flip = bench.on_record("dns.flip", with);
    let identity = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-flip", identity);
    let running = tokio::spawn(async move { flip.execute(&cx).await });
    bench.wait_until_accepted();
    wait(bench);
    let theirs = bench.meddle(theirs).await;
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "it was accepted: {error}");
    assert_eq!(bench.standing().await, theirs, "theirs stands");
    (error.message, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_that_was_accepted_and_overwritten_is_in_doubt_and_names_what_stands() {
    let mut bench = Bench::lab(SLOW, &[]).await;
    let _silent = bench.silence_the_authority();
    let (words, theirs) = met(&bench, json!({}), |_| {}, &["127.0.0.3"]).await;
    assert!(
        words.contains("was accepted, and then the record was changed by somebody else"),
        "{words}"
    );
    assert!(words.contains(&theirs[0].words()), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_that_is_overwritten_while_caches_are_waited_for_is_in_doubt() {
    let bench = Bench::lab(SLOW, &[]).await;
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let more = json!({ "resolvers": [nobody.local_addr().unwrap().to_string()], "until": ["resolvers"] });
    let settled = |bench: &Bench| bench.wait_until_told("1 of 1 authoritative and 0 of 1 resolvers");
    let (words, theirs) = met(&bench, more, settled, &["127.0.0.3"]).await;
    assert!(words.contains("changed by somebody else"), "{words}");
    assert!(words.contains(&theirs[0].words()), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_does_not_settle_is_in_doubt_and_says_what_stands() {
    let mut bench = Bench::lab(200.0, &[]).await;
    let _silent = bench.silence_the_authority();
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    let error = bench.perform(&*flip, "pm-flip").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error}");
    assert!(
        error
            .message
            .contains("was accepted and stands at Route 53, but did not settle"),
        "{error}"
    );
    assert!(error.message.contains("no answer"), "{error}");
    // Asked for once more, nothing is sent, and nothing is in doubt.
    let error = bench.perform(&*flip, "pm-again").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
    assert!(
        error.message.contains("so already") && error.message.contains("nothing was sent"),
        "{error}"
    );
    assert_eq!(bench.changes(), ["pm-flip"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_does_not_settle_stops_the_shift_and_says_where_it_stands() {
    let mut bench = Bench::lab(200.0, &[]).await;
    let before = bench.standing().await;
    let _silent = bench.silence_the_authority();
    let action = bench.on_record("dns.shift", shift(json!({})));
    let stopped = bench.perform(&*action, "pm-shift").await.unwrap();
    let words = stopped.result["breach"]["words"].as_str().unwrap();
    assert!(
        words.contains("was accepted and stands at Route 53, but did not settle"),
        "{words}"
    );
    assert_eq!(stopped.result["reached"], 5, "{}", stopped.summary);
    assert!(stopped.summary.contains("it stands at 5 %"), "{}", stopped.summary);
    assert_eq!(stopped.result["prior"], json!(before), "the way back is kept");
    assert_eq!(share_of(&bench.standing().await), Some(5));
    let failed = action.prove(&bench.cx("pm-shift", Value::Null)).await.unwrap_err();
    assert!(failed.message.contains("stands at 5 % of 100 %"), "{failed}");
}
