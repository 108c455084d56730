//! Where an attempt was begun, and what of it stays there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use pointsman::provider::action::{ActionErrorKind, Cx};
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, done, failed, not_started, unknown};

/// The host's own id, where it has one.
fn id() -> Option<String> {
    fs::read_to_string("/etc/machine-id")
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_of_the_same_name_proves_nothing() {
    let bench = Bench::new();
    bench.run(json!({ "argv": ["true"] })).await.unwrap();
    let named = bench.heard.acked.lock().unwrap()[0].clone();
    assert!(named.contains(" (boot ") && named.contains(", machine "), "{named}");
    // Nothing of this one was ever noted.
    let look = async |acked: Option<String>| {
        let cx = Cx {
            key: "pm-elsewhere".to_owned(),
            acked,
            ..bench.cx()
        };
        bench.script("true").observe(&cx).await.unwrap()
    };
    not_started(look(Some(named.clone())).await);
    not_started(look(None).await);
    let (group, place) = named.split_once(" (boot ").unwrap();
    let (_, machine) = place.trim_end_matches(')').split_once(", machine ").unwrap();
    if let Some(id) = id() {
        assert!(
            !named.contains(&id) && machine.len() == 16,
            "its id is not for others to see: {named}"
        );
    }
    let elsewhere = format!("{group} (boot another, machine another)");
    let words = unknown(look(Some(elsewhere)).await);
    let told = match machine {
        "-" => "the host was started again",
        _ => "this is another machine",
    };
    assert!(words.contains(told), "{words}");
    let again = format!("{group} (boot another, machine {machine})");
    let words = unknown(look(Some(again)).await);
    assert!(words.contains("the host was started again"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_goes_to_the_host_that_was_approved() {
    let bench = Bench::new();
    let identity = bench.script("true").check(&bench.cx()).await.unwrap().identity;
    let back = |forward: Value| Cx { forward, ..bench.cx() };
    let mut other = identity.clone();
    other["host_key"] = json!("ssh-ed25519 SHA256:another");
    let refused = bench.script("true").execute(&back(other.clone())).await;
    let words = failed(refused, ActionErrorKind::Permanent);
    assert!(words.contains("and ssh-ed25519 SHA256:another was approved"), "{words}");
    assert!(bench.heard.acked.lock().unwrap().is_empty());
    // A way that went to another host says nothing of this one.
    other["host"] = json!("elsewhere.example.com");
    bench.script("true").execute(&back(other)).await.unwrap();
    done(bench.observe().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notes_of_attempts_that_ended_long_ago_are_removed() {
    let bench = Bench::new();
    let root = bench.host.path("state").join("pointsman");
    let noted = |name: &str, file: &str, age: &str| -> PathBuf {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), "0 2026-01-01T00:00:00Z\n").unwrap();
        let aged = Command::new("touch")
            .args(["-d", age])
            .arg(folder.join(file))
            .status()
            .unwrap();
        assert!(aged.success());
        folder
    };
    let old = noted("pm-old", "status", "16 days ago");
    let young = noted("pm-young", "status", "13 days ago");
    let unended = noted("pm-unended", "begun", "16 days ago");
    let others = noted("of-others", "status", "16 days ago");
    let deeper = noted("pm-unended/within", "status", "16 days ago");
    bench.run(json!({ "argv": ["true"] })).await.unwrap();
    bench.wait("the old notes' end", || !old.exists());
    for stays in [young, unended, others, deeper, root.join(KEY)] {
        assert!(stays.exists(), "{}", stays.display());
    }
    done(bench.observe().await);
}
