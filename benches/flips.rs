//! How soon a flip is known to have worked: 50 flips on the lab at the night's own pace of asking, from the moment in which
//! the authoritative server gives the new answer (a watcher asks it every 2 ms) to the step's success; and what asking
//! cost meanwhile: API calls as the lab's own log has them, and DNS questions as the step counts them.
//!
//! `cargo bench --bench flips` prints p50 and p99 (nearest rank) and requests a minute. INSYNC takes between 0.7 and 4 s,
//! differently for each of ten labs, so that no beat of the step fits it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not a part of the program"
)]

#[path = "../tests/support/cx.rs"]
mod cx;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pointsman::lab::endpoints::{ACCOUNT, REGION, ZONE_ID};
use pointsman::lab::{Lab, LabOptions};
use pointsman::provider::action::{ActionError, Cx, Progress, Reporter};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::dns::lookup::{Asked, ask};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const LABS: u32 = 10;
const FLIPS: u32 = 5;
/// Nominal seconds until a change is INSYNC in the lab.
const IN_SYNC: f64 = 30.0;

struct Deaf;

#[async_trait]
impl Reporter for Deaf {
    async fn ack(&self, _id: &str) -> Result<(), ActionError> {
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

fn cx(key: &str, identity: Value) -> Cx {
    cx::cx(key, identity, 1.0, &CancellationToken::new(), Arc::new(Deaf))
}

/// The moment in which the server gives `wanted`.
async fn visible(server: SocketAddr, wanted: String) -> Instant {
    let asked = Asked {
        name: "erp.lab.test.".to_owned(),
        kind: "A".to_owned(),
    };
    loop {
        if ask(server, &asked)
            .await
            .is_ok_and(|answer| answer.values == [wanted.as_str()])
        {
            return Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn rank(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

#[tokio::main]
async fn main() {
    let (mut waits, mut calls, mut questions, mut spent) = (Vec::new(), 0, 0, Duration::ZERO);
    for number in 0..LABS {
        let folder = tempfile::tempdir().unwrap();
        let speed = IN_SYNC / (0.7 + 0.37 * f64::from(number));
        let options = LabOptions {
            speed,
            writer: false,
            ..LabOptions::default()
        };
        let lab = Lab::start(folder.path(), options).await.unwrap();
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(lab.endpoints().aws.clone()), Identity::Fake);
        aws.dns_server = Some(lab.endpoints().dns);
        let connections = Connections::new().with("aws", Target::Aws(aws));
        for flip in 0..FLIPS {
            let to = if flip % 2 == 0 { "127.0.0.2" } else { "127.0.0.1" };
            let with = json!({ "zone": ZONE_ID, "record": "erp.lab.test", "to": [to] });
            let on = ["aws".to_owned()];
            let request = Request {
                uses: "dns.flip",
                on: &on,
                with: &with,
            };
            let action = build(&request, &connections).unwrap();
            let key = format!("pm-{flip}");
            let ready = action.check(&cx(&key, Value::Null)).await.unwrap();
            let before = fs::read_to_string(folder.path().join("requests.jsonl"))
                .unwrap()
                .lines()
                .count();
            let begun = Instant::now();
            let watcher = tokio::spawn(visible(lab.endpoints().dns, to.to_owned()));
            let done = action.execute(&cx(&key, ready.identity)).await.unwrap();
            let succeeded = Instant::now();
            let after = fs::read_to_string(folder.path().join("requests.jsonl"))
                .unwrap()
                .lines()
                .count();
            waits.push(succeeded.saturating_duration_since(watcher.await.unwrap()));
            calls += after - before;
            questions += done.result["requests"].as_u64().unwrap();
            spent += succeeded - begun;
        }
        lab.stop().await;
    }
    waits.sort();
    let minutes = spent.as_secs_f64() / 60.0;
    println!(
        "{} flips, {:.1} s each on average",
        waits.len(),
        spent.as_secs_f64() / waits.len() as f64
    );
    println!(
        "from visible at the authoritative server to the step's success: p50 {} ms, p99 {} ms",
        rank(&waits, 50).as_millis(),
        rank(&waits, 99).as_millis()
    );
    let flips = waits.len() as f64;
    println!(
        "a flip costs {:.1} requests to the API and {:.1} DNS questions",
        calls as f64 / flips,
        questions as f64 / flips
    );
    println!(
        "requests a minute while waiting: {:.0} to the API, {:.0} DNS questions",
        calls as f64 / minutes,
        questions as f64 / minutes
    );
}
