//! The connection, the server, the keeper or the command goes away in the middle: what is said, and what is found after.

use std::fs;

use pointsman::provider::action::ActionErrorKind::{Cancelled, InDoubt, Transient};
use serde_json::json;

use crate::bench::{Bench, KEY, done, failed, running, unknown};
use crate::server::{kill, processes};

/// A command that says a word, waits for the test, and says another.
fn waiting(bench: &Bench) -> Box<dyn pointsman::provider::Action> {
    let pipe = bench.pipe();
    bench.script(&format!(
        "echo begun; read word < {}; echo \"$word on\"",
        pipe.display()
    ))
}

fn heard(bench: &Bench, line: &str) -> bool {
    bench.heard.lines.lock().unwrap().iter().any(|heard| heard == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_in_doubt_and_the_command_goes_on_to_its_end() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    bench.host.cut();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(words.contains("was cut while sh ran"), "{words}");
    let detail = running(bench.observe().await);
    assert!(detail.contains(&format!("process group {}", bench.group())), "{detail}");
    bench.let_go();
    bench.wait("its end", || {
        matches!(bench.look(), pointsman::provider::action::Observed::Done(_))
    });
    let outcome = done(bench.observe().await);
    assert_eq!(outcome.result["stdout"], "begun\ngo on\n");
    assert_eq!(outcome.result["code"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_in_doubt_and_its_successor_tells_the_truth() {
    let mut bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    bench.host.stop();
    failed(running_one.await.unwrap(), InDoubt);
    failed(bench.script("true").observe(&bench.cx()).await, Transient);
    bench.host.serve();
    running(bench.observe().await);
    // Who follows it hears all of it, from its first word to its end.
    bench.heard.lines.lock().unwrap().clear();
    let (action, cx) = (bench.script("true"), bench.cx());
    let adopted = tokio::spawn(async move { action.adopt(&cx).await });
    bench.wait("its first word again", || heard(&bench, "begun"));
    bench.let_go();
    let outcome = adopted.await.unwrap().unwrap();
    assert_eq!(outcome.result["stdout"], "begun\ngo on\n");
    assert!(heard(&bench, "go on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_of_a_failure_and_may_stop_following() {
    let bench = Bench::new();
    let pipe = bench.pipe();
    let script = format!("read word < {}; echo no luck >&2; exit 5", pipe.display());
    let running_one = bench.begin(bench.script(&script), bench.cx());
    bench.host.cut();
    failed(running_one.await.unwrap(), InDoubt);
    let (action, mut cx) = (bench.script("true"), bench.cx());
    cx.cancel = tokio_util::sync::CancellationToken::new();
    let cancel = cx.cancel.clone();
    let adopted = tokio::spawn(async move { action.adopt(&cx).await });
    bench.wait("a connection", || !bench.host.connections().is_empty());
    cancel.cancel();
    let words = failed(adopted.await.unwrap(), Cancelled);
    assert!(!words.contains("was ended"), "{words}");
    running(bench.observe().await);
    let (action, cx) = (bench.script("true"), bench.cx());
    let adopted = tokio::spawn(async move { action.adopt(&cx).await });
    bench.let_go();
    let error = adopted.await.unwrap().unwrap_err();
    assert!(
        error.message.contains("ended with 5") && error.message.contains("no luck"),
        "{error:?}"
    );
    assert_eq!(error.kind, InDoubt, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_whole_group_and_a_person_has_to_judge() {
    for mutates in [true, false] {
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let script = "sh -c 'sleep 600 & sleep 600' & sleep 600 & echo begun; wait";
        let running_one = bench.begin(bench.script(script), cx);
        bench.wait("its first word", || heard(&bench, "begun"));
        let group = bench.group();
        let members = || processes().iter().filter(|process| process.group == group).count();
        bench.wait("its children", || members() >= 4);
        bench.cancel.cancel();
        let words = failed(running_one.await.unwrap(), InDoubt);
        assert!(words.contains("was ended on request; what it did"), "{words}");
        assert_eq!(members(), 0);
        if mutates {
            let seen = unknown(bench.observe().await);
            assert!(
                seen.contains("143") && seen.contains("after it was asked to end"),
                "{seen}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_will_not_end_is_killed_with_all_its_group() {
    let bench = Bench::new();
    let deaf = "trap '' TERM; while :; do sleep 600; done";
    let script = format!("sh -c \"{deaf}\" & {}", deaf.replacen("while", "echo begun; while", 1));
    let running_one = bench.begin(bench.script(&script), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    let group = bench.group();
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(words.contains("had to be killed"), "{words}");
    assert!(!processes().iter().any(|process| process.group == group));
    assert!(unknown(bench.observe().await).contains("137"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_cannot_be_confirmed_is_said_to_be_none() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    // Nobody is let in any more.
    fs::write(bench.host.path("authorized_keys"), "").unwrap();
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(words.contains("ITS END IS NOT CONFIRMED"), "{words}");
    fs::copy(bench.host.path("guest.pub"), bench.host.path("authorized_keys")).unwrap();
    running(bench.observe().await);
    bench.let_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_needs_no_note() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    // Nothing can be written there, as on a full disk.
    fs::create_dir(bench.host.notes(KEY).join("asked")).unwrap();
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(
        words.contains("was ended on request") && !words.contains("NOT CONFIRMED"),
        "{words}"
    );
    let group = bench.group();
    assert!(!processes().iter().any(|process| process.group == group));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_after_it_was_asked_to_is_not_done_for_who_follows_it() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    bench.host.cut();
    failed(running_one.await.unwrap(), InDoubt);
    bench.heard.lines.lock().unwrap().clear();
    let (action, cx) = (bench.script("true"), bench.cx());
    let adopted = tokio::spawn(async move { action.adopt(&cx).await });
    bench.wait("its first word again", || heard(&bench, "begun"));
    fs::write(bench.host.notes(KEY).join("asked"), "").unwrap();
    bench.let_go();
    let words = failed(adopted.await.unwrap(), InDoubt);
    assert!(
        words.contains("ended with 0") && words.contains("after it was asked to end"),
        "{words}"
    );
    let shown = |line: &str| {
        bench
            .heard
            .lines
            .lock()
            .unwrap()
            .iter()
            .filter(|heard| *heard == line)
            .count()
    };
    assert_eq!((shown("begun"), shown("go on")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_read_may_be_tried_again() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.reading());
    bench.wait("its first word", || heard(&bench, "begun"));
    bench.host.cut();
    let words = failed(running_one.await.unwrap(), Transient);
    assert!(words.contains("was cut while sh read"), "{words}");
    // Nobody would read what it says: it ends with its connection.
    let group = bench.group();
    bench.wait("its end", || !processes().iter().any(|process| process.group == group));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leftover_is_told() {
    for mutates in [true, false] {
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let pipe = bench.pipe();
        let script = format!("(read word < {0}) >/dev/null 2>&1 & echo begun", pipe.display());
        let outcome = bench.script(&script).execute(&cx).await.unwrap();
        assert_eq!(outcome.result["stdout"], "begun\n");
        let left = outcome.summary.contains("something that it started still runs");
        assert_eq!(left, mutates, "{}", outcome.summary);
        bench.let_go();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keeper_it_runs_and_then_nobody_knows_how_it_ended() {
    let bench = Bench::new();
    let running_one = bench.begin(waiting(&bench), bench.cx());
    bench.wait("its first word", || heard(&bench, "begun"));
    let keeper = fs::read_to_string(bench.host.notes(KEY).join("keeper")).unwrap();
    kill(
        keeper.split(' ').next().unwrap().parse().unwrap(),
        rustix::process::Signal::KILL,
    );
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(words.contains("who was to note how it ends is gone"), "{words}");
    let detail = running(bench.observe().await);
    assert!(detail.contains("who was to note its end is gone"), "{detail}");
    bench.let_go();
    let (action, cx) = (bench.script("true"), bench.cx());
    let words = failed(action.adopt(&cx).await, InDoubt);
    assert!(words.contains("nobody noted how it ended"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_only_its_number_is_not_taken_for_it() {
    let bench = Bench::new();
    bench.run(json!({ "argv": ["true"] })).await.unwrap();
    let notes = bench.host.notes(KEY);
    fs::remove_file(notes.join("status")).unwrap();
    // The test itself has the number of the group and of the keeper by now.
    let group = fs::read_to_string(notes.join("group")).unwrap();
    let rest: Vec<&str> = group.trim().split(' ').skip(1).collect();
    let reused = format!("{} {}\n", std::process::id(), rest.join(" "));
    fs::write(notes.join("group"), &reused).unwrap();
    fs::write(notes.join("keeper"), &reused).unwrap();
    let detail = unknown(bench.observe().await);
    assert!(detail.contains("runs no more"), "{detail}");
    // Nor one of another boot.
    let stat = fs::read_to_string(format!("/proc/{}/stat", std::process::id())).unwrap();
    let began = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    let boot = rest[1];
    let noted = |boot: &str| {
        for file in ["group", "keeper"] {
            fs::write(
                notes.join(file),
                format!("{} {began} {boot} {}\n", std::process::id(), rest[2]),
            )
            .unwrap();
        }
    };
    noted("another-boot");
    let detail = unknown(bench.observe().await);
    assert!(detail.contains("was started again since"), "{detail}");
    noted(boot);
    running(bench.observe().await);
}
