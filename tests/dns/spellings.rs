//! Types whose values Route 53 and a server spell differently, against Knot: they settle, come back, and a lookup gives
//! them as Route 53 takes them.

use pointsman::provider::dns::records::meaning;
use serde_json::{Value, json};

use crate::bench::{Bench, simple};
use crate::peers::dig_for;

/// Flips a record of a type from one list of values to another and back; gives what `dig` sees in between.
async fn there_and_back(kind: &str, from: &[&str], to: &[&str]) -> Option<(Vec<String>, Value)> {
    let name = format!("{}.lab.test.", kind.to_lowercase());
    let (bench, caches) = Bench::cached(&[(&name, kind)]).await?;
    let first = [simple(&name, kind, 60, from)];
    bench.zone().await.swap(&[], &first, "pm-first").await.unwrap();
    let on = |uses: &str, more: Value| {
        let mut with = json!({ "zone": "lab.test", "record": name, "type": kind });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.action(uses, with)
    };
    let flipped = bench
        .perform(&*on("dns.flip", json!({ "to": to })), "pm-flip")
        .await
        .unwrap();
    assert!(
        flipped.summary.contains("1 of 1 authoritative give the new answer"),
        "{}",
        flipped.summary
    );
    let seen = dig_for(caches.knot.at, &name, kind);
    let asked = json!({ "record": name, "type": kind, "resolvers": [caches.unbound.at.to_string()] });
    let looked = bench
        .perform(&*bench.action("dns.lookup", asked), "pm-look")
        .await
        .unwrap();
    let again = bench
        .perform(&*on("dns.flip", json!({ "to": to })), "pm-again")
        .await
        .unwrap();
    assert_eq!(again.result["change_id"], Value::Null, "it is so already");
    let back = on("dns.restore", json!({ "to": flipped.result["prior"] }));
    bench.perform(&*back, "pm-back").await.unwrap();
    assert_eq!(bench.zone().await.read(&name, kind).await.unwrap(), first);
    assert_eq!(bench.changes(), ["pm-first", "pm-flip", "pm-back"]);
    let given: Vec<String> = serde_json::from_value(looked.result["values"].clone()).unwrap();
    let to: Vec<String> = to.iter().map(|value| (*value).to_owned()).collect();
    assert_eq!(given, meaning(kind, &to));
    Some((seen, looked.result["servers"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_settles_without_its_final_dot_and_in_any_case() {
    let Some((seen, servers)) = there_and_back("CNAME", &["old.lab.test"], &["New.Lab.Test"]).await else {
        return;
    };
    assert_eq!(seen[0].to_lowercase(), "new.lab.test.");
    assert_eq!(servers[1]["verdict"], "new", "the cache agrees: {servers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_settles_in_any_of_its_forms() {
    let to = ["2001:DB8:0:0:0:0:0:2", "2001:db8::0001"];
    let Some((mut seen, _)) = there_and_back("AAAA", &["2001:db8:0::9"], &to).await else {
        return;
    };
    seen.sort();
    assert_eq!(seen, ["2001:db8::1", "2001:db8::2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_exchanges_settle() {
    let to = ["20 Backup.lab.test", "10 mail.lab.test."];
    let Some((mut seen, _)) = there_and_back("MX", &["10 old.lab.test"], &to).await else {
        return;
    };
    seen.sort();
    assert_eq!(seen, ["10 mail.lab.test.", "20 backup.lab.test."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_settle_with_quotes_bytes_and_several_strings() {
    let long = format!("\"{}\"  \"{}\"", "k".repeat(255), "tail");
    let to = [r#""say \"yes\" or \\no""#, r#""ex\344mple\011tab""#, long.as_str()];
    let Some((mut seen, _)) = there_and_back("TXT", &["\"v=spf1 -all\""], &to).await else {
        return;
    };
    seen.sort();
    // As master files write bytes: in decimal.
    assert_eq!(seen[0], r#""ex\228mple\009tab""#);
    assert_eq!(seen[1], format!("\"{}\" \"tail\"", "k".repeat(255)));
    assert_eq!(seen[2], r#""say \"yes\" or \\no""#);
}
