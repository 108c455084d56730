//! Waiting for caches: the old answer is seen until its TTL has run out, asked about no more than that takes, and silence
//! is no agreement.

use std::time::Duration;

use pointsman::provider::action::ActionErrorKind;
use serde_json::json;
use tokio::time::Instant;

use crate::bench::{Bench, fill, verdict};
use crate::peers::dig;

/// A TTL of real seconds that outlives INSYNC.
const TTL: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_gives_the_old_answer_until_its_ttl_has_run_out_and_then_the_new_one() {
    let Some((bench, caches)) = Bench::cached(&[]).await else {
        return;
    };
    let cache = caches.unbound.at;
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": TTL, "wait": false }));
    bench.perform(&*lower, "pm-lower").await.unwrap();
    let filled = Instant::now();
    let held = fill(cache).await;
    assert_eq!((held.values.as_slice(), held.ttl), (&["127.0.0.1".to_owned()][..], TTL));
    let before = caches.unbound.asked_about("erp.lab.test.");
    let with = json!({ "to": ["127.0.0.2"], "resolvers": [cache.to_string()], "until": ["resolvers"] });
    let flip = bench.on_record("dns.flip", with);
    let flipped = bench.perform(&*flip, "pm-flip").await.unwrap();
    let took = filled.elapsed();
    assert_eq!(dig(cache, "erp.lab.test"), ["127.0.0.2"], "dig agrees");
    assert_eq!(verdict(&flipped, cache), "new");
    assert_eq!(verdict(&flipped, caches.knot.at), "new");
    // A cache counts whole seconds, so its last one may be short.
    let ttl = Duration::from_secs(u64::from(TTL));
    assert!(took >= ttl - Duration::from_secs(1), "{took:?}");
    // Long before a cache would be asked again for no reason.
    assert!(took < ttl + Duration::from_secs(30), "{took:?}");
    let lines = bench.heard.lines.lock().unwrap().join("\n");
    let old = format!("resolver {cache}");
    let seen = lines
        .lines()
        .any(|line| line.contains(&old) && line.contains("127.0.0.1") && line.contains("s left"));
    assert!(seen, "{lines}");
    // Once while it was old, once when that had run out, and once more where a second was short; then dig.
    let asked = caches.unbound.asked_about("erp.lab.test.") - before - 1;
    assert!((2..=3).contains(&asked), "{asked} questions\n{}", caches.unbound.log());
    let (name, evidence) = &flipped.evidence[0];
    let table = String::from_utf8_lossy(evidence);
    assert!(name == "answers" && table.contains("questions were sent"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_resolver_is_said_and_never_taken_as_agreement() {
    let Some((bench, caches)) = Bench::cached(&[]).await else {
        return;
    };
    // Bound and never read.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap().to_string();
    let cache = caches.unbound.at.to_string();
    let with = json!({ "to": ["127.0.0.2"], "resolvers": [cache, nobody], "until": ["resolvers"] });
    let flip = bench.on_record("dns.flip", with);
    let identity = flip.check(&bench.cx("pm-flip", json!(null))).await.unwrap().identity;
    let cx = bench.cx("pm-flip", identity);
    let observed = cx.clone();
    let running = tokio::spawn(async move { (flip.execute(&cx).await, flip) });
    let heard = bench.heard.clone();
    let told = move || {
        let lines = heard.lines.lock().unwrap();
        let of = |server: &str, verdict: &str| {
            let server = format!("resolver {server}");
            lines
                .iter()
                .any(|line| line.contains(&server) && line.contains(verdict))
        };
        of(&nobody, "no answer") && of(&cache, "new")
    };
    tokio::task::block_in_place(|| crate::support::wait_for("both verdicts", told));
    assert!(!running.is_finished());
    bench.cancel.cancel();
    let (ended, flip) = running.await.unwrap();
    assert_eq!(ended.unwrap_err().kind, ActionErrorKind::Cancelled);
    let seen = flip.observe(&observed).await.unwrap();
    let pointsman::provider::action::Observed::Running { detail } = seen else {
        panic!("{seen:?}");
    };
    assert!(detail.contains("no answer"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_shows_who_answers_what_and_waits_for_the_caches() {
    let Some((bench, caches)) = Bench::cached(&[]).await else {
        return;
    };
    let cache = caches.unbound.at;
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 4, "wait": false }));
    bench.perform(&*lower, "pm-lower").await.unwrap();
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    let identity = flip.check(&bench.cx("pm-flip", json!(null))).await.unwrap().identity;
    fill(cache).await;
    flip.execute(&bench.cx("pm-flip", identity)).await.unwrap();
    let lookup = |until: &[&str]| {
        let with = json!({ "record": "erp.lab.test", "resolvers": [cache.to_string()], "until": until });
        bench.action("dns.lookup", with)
    };
    let seen = bench.perform(&*lookup(&[]), "pm-look").await.unwrap();
    assert_eq!(seen.result["values"], json!(["127.0.0.2"]));
    assert_eq!(verdict(&seen, cache), "other", "{}", seen.summary);
    assert!(seen.summary.contains("s left"), "{}", seen.summary);
    let waited = bench.perform(&*lookup(&["resolvers"]), "pm-look").await.unwrap();
    assert_eq!(verdict(&waited, cache), "new");
    assert_eq!(dig(cache, "erp.lab.test"), ["127.0.0.2"]);
}
