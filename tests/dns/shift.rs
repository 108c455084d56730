//! Shifts by weights, on the lab, whose server serves them: stages, the analysis between them, the way back by itself,
//! drift, lost answers, and what is found after a crash.

use chrono::{TimeDelta, Utc};
use pointsman::lab::Fault;
use pointsman::provider::action::{ActionErrorKind, Cx, Observed};
use pointsman::provider::dns::stages::share_of;
use serde_json::{Value, json};

use crate::bench::Bench;

/// Nominal seconds are this many times as fast.
pub const SPEED: f64 = 50.0;

pub fn shift(more: Value) -> Value {
    let mut with = json!({
        "to": ["127.0.0.2"],
        "ttl": 10,
        "stages": [5, 25, 50, 100],
        "hold": "2m",
        "samples": 40,
        "analysis": [
            { "uses": "sql.assert", "on": ["target"], "with": { "sql": "select count(*) from customers", "expect": "value == 0" } },
        ],
        "clients": [{ "uses": "http.check", "on": ["app"], "with": { "path": "/health" } }],
        "new_if": "json.side == 'new'",
    });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_goes_stage_by_stage_and_comes_back_exactly() {
    let bench = Bench::lab(SPEED, &[]).await;
    let before = bench.standing().await;
    let action = bench.on_record("dns.shift", shift(json!({})));
    let shifted = bench.perform(&*action, "pm-shift").await.unwrap();
    assert_eq!(shifted.result["breach"], Value::Null, "{}", shifted.summary);
    assert_eq!(shifted.result["reached"], 100);
    let shares: Vec<i64> = shifted.result["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["share"].as_i64().unwrap())
        .collect();
    assert_eq!(shares, [5, 25, 50, 100]);
    let last = &shifted.result["stages"][3];
    assert_eq!(
        (&last["new"], &last["clients_new"]),
        (&json!(40), &json!(40)),
        "all of it is new"
    );
    assert_eq!(shifted.result["client_error_share"], 0.0);
    assert_eq!(share_of(&bench.standing().await), Some(100));
    action.prove(&bench.cx("pm-shift", Value::Null)).await.unwrap();
    let sent = ["pm-shift at 5", "pm-shift at 25", "pm-shift at 50", "pm-shift at 100"];
    assert_eq!(bench.changes(), sent, "one batch a stage");
    let back = bench.on_record("dns.restore", json!({ "to": shifted.result["prior"] }));
    bench.perform(&*back, "pm-back").await.unwrap();
    assert_eq!(bench.standing().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_turns_bad_at_25_percent_is_left_within_one_hold() {
    for (revert_to, share) in [("previous", 5), ("start", 0)] {
        // Half as fast, so that the machine's own slowness is a small part of a hold.
        let bench = Bench::lab(SPEED / 2.0, &[Fault::TargetUnhealthyAfter25]).await;
        let before = bench.standing().await;
        let action = bench.on_record("dns.shift", shift(json!({ "revert_to": revert_to, "hold": "5m" })));
        let stopped = bench.perform(&*action, "pm-shift").await.unwrap();
        let breach = &stopped.result["breach"];
        assert_eq!(breach["stage"], 25, "{}", stopped.summary);
        assert_eq!(breach["reverted_to"], share);
        assert!(
            breach["words"].as_str().unwrap().contains("client error share"),
            "{breach}"
        );
        assert!(stopped.summary.contains("client error share"), "{}", stopped.summary);
        let took = breach["after_s"].as_f64().unwrap() + breach["reverted_after_s"].as_f64().unwrap();
        assert!(took < 300.0, "{took} s, a hold is 300 s");
        println!("{}", stopped.summary);
        let now = bench.standing().await;
        if share == 0 {
            assert_eq!(now, before, "exactly as before");
        } else {
            assert_eq!(share_of(&now), Some(share));
        }
        let failed = action.prove(&bench.cx("pm-shift", Value::Null)).await.unwrap_err();
        assert_eq!(failed.kind, ActionErrorKind::Permanent);
        assert!(
            failed.message.contains(&format!("stands at {share} % of 100 %")),
            "{failed}"
        );
        assert_eq!(stopped.result["prior"], json!(before), "the way back is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_hold_stays_at_the_stage_and_a_red_analysis_is_a_breach() {
    let bench = Bench::lab(SPEED, &[]).await;
    let red = json!({
        "on_breach": "hold",
        "analysis": [
            { "uses": "sql.assert", "on": ["target"], "with": { "sql": "select 1", "expect": "value == 2" } },
        ],
    });
    let action = bench.on_record("dns.shift", shift(red));
    let stopped = bench.perform(&*action, "pm-shift").await.unwrap();
    assert_eq!(stopped.result["reached"], 5);
    let words = stopped.result["breach"]["words"].as_str().unwrap().to_owned();
    assert!(words.contains("sql.assert") && words.contains("value == 2"), "{words}");
    assert_eq!(share_of(&bench.standing().await), Some(5));
    assert_eq!(bench.changes(), ["pm-shift at 5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_for_and_a_crash_tells_its_stage() {
    let bench = Bench::lab(SPEED, &[Fault::DnsChangeReplyLost]).await;
    let action = bench.on_record("dns.shift", shift(json!({ "stages": [5, 25], "hold": "1m" })));
    let identity = action.check(&bench.cx("pm-shift", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-shift", identity.clone());
    let seen = async |days: i64| {
        let intent_at = Utc::now() + TimeDelta::days(days);
        let cx = Cx {
            intent_at,
            ..cx.clone()
        };
        action.observe(&cx).await.unwrap()
    };
    // However slow this machine is, no time has passed since an intent that is still to come.
    assert!(matches!(seen(1).await, Observed::NotVisible { .. }));
    assert!(matches!(seen(-1).await, Observed::NotStarted { .. }));
    let shifted = action.execute(&cx).await.unwrap();
    assert_eq!(shifted.result["reached"], 25, "{}", shifted.summary);
    assert_eq!(bench.changes(), ["pm-shift at 5", "pm-shift at 25"], "nothing twice");
    let Observed::Done(found) = action.observe(&cx).await.unwrap() else {
        panic!("it is done");
    };
    assert_eq!(
        (&found.result["reached"], &found.result["breach"]),
        (&json!(25), &Value::Null)
    );
    assert_eq!(found.result["prior"], shifted.result["prior"]);
    // The same record means a stage on the way to somebody who wanted more.
    let more = bench.on_record("dns.shift", shift(json!({})));
    let Observed::Done(found) = more.observe(&cx).await.unwrap() else {
        panic!("it stands at a stage");
    };
    assert_eq!(found.result["reached"], 25);
    assert!(found.summary.contains("STOPPED at 25 %"), "{}", found.summary);
    assert!(more.prove(&cx).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_does_not_rise_and_a_read_that_writes_are_told_before_the_night() {
    let place = crate::support::Place::new();
    let file = place.path("bad.yaml");
    let text = "version: 1
name: bad
connections: { aws: { uses: aws, region: us-east-1, account: \"000000000000\" }, target: { uses: sqlite, path: t.db } }
environments: { lab: { kind: lab } }
phases:
  - id: all
    steps:
      - id: shift
        uses: dns.shift
        on: aws
        with:
          zone: Z0LAB000000001
          record: erp.lab.test
          to: [127.0.0.2]
          stages: [25, { share: 5, hold: soon }]
          analysis:
            - { uses: sql.exec, on: target, with: { sql: delete from orders } }
            - { uses: cloudwatch.metric, on: aws, with: { namespace: Erp, metric: Errors, missing: 0, expect: value < 1 } }
        outputs: { prior: result.prior }
        rollback:
          uses: dns.restore
          on: aws
          with: { zone: Z0LAB000000001, record: erp.lab.test, to: \"${ steps.shift.outputs.prior }\" }
";
    std::fs::write(&file, text).unwrap();
    let told = place.program(&["check", file.to_str().unwrap()]).expect(2);
    let all = format!("{}{}", told.out, told.err);
    for words in [
        "the share 5 does not rise above 25",
        "sql.exec in analysis changes something",
        "soon",
    ] {
        assert!(all.contains(words), "{words}\n{all}");
    }
    let sound = text
        .replace("[25, { share: 5, hold: soon }]", "[5, { share: 25, hold: 2m }]")
        .replace(
            "            - { uses: sql.exec, on: target, with: { sql: delete from orders } }\n",
            "",
        );
    std::fs::write(&file, sound).unwrap();
    let planned = place
        .program(&["plan", file.to_str().unwrap(), "--env", "lab"])
        .expect(0)
        .out;
    assert!(planned.contains("cloudwatch.metric"), "{planned}");
}
