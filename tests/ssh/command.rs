//! What a command gets and gives.

use std::fs;

use pointsman::provider::action::ActionErrorKind::{Cancelled, InDoubt, Permanent, Transient};
use pointsman::provider::connection::{BuildError, Connections, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, done, failed, not_started, unknown};
use crate::server::{Host, processes};

#[tokio::test(flavor = "multi_thread")]
async fn output_is_shown_by_line_and_kept_and_the_group_is_named_before() {
    let bench = Bench::new();
    let script = "read -r stat </proc/$$/stat; set -- ${stat##*') '}; echo $3; echo complaint >&2; printf 'no end'";
    let outcome = bench.script(script).execute(&bench.cx()).await.unwrap();
    assert_eq!(outcome.result["code"], 0);
    assert_eq!(outcome.result["signal"], Value::Null);
    assert_eq!(outcome.result["stdout"], format!("{}\nno end", bench.group()));
    assert_eq!(outcome.result["stderr"], "complaint\n");
    let mut lines = bench.heard.lines.lock().unwrap().clone();
    lines.sort();
    assert_eq!(lines[1..], ["complaint", "no end"]);
    let evidence: Vec<(&str, &[u8])> = outcome
        .evidence
        .iter()
        .map(|(name, bytes)| (&**name, &**bytes))
        .collect();
    assert_eq!(evidence[1], ("stderr", b"complaint\n".as_slice()));
    // Found again, with its output, though it ended long ago.
    let found = done(bench.observe().await);
    assert_eq!(found.result, outcome.result);
    assert_eq!(found.evidence, outcome.evidence);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_arrive_as_they_are_and_no_shell_reads_them() {
    let bench = Bench::new();
    let words = [
        "a b", "", "'", "\"", "$(id)", "`id`", "*", "-n", "\\", "a\nb", "é€", "; exit 3", "#", "~",
    ];
    let mut argv = vec!["printf", "%s\\0"];
    argv.extend(words);
    let outcome = bench.run(json!({ "argv": argv })).await.unwrap();
    let printed = outcome.evidence[0].1.split(|byte| *byte == 0);
    let printed: Vec<&str> = printed.map(|word| std::str::from_utf8(word).unwrap()).collect();
    assert_eq!(printed[..words.len()], words);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_by_allow_list_and_the_folder_is_as_asked() {
    let bench = Bench::new();
    let with = json!({ "argv": ["env"], "env": { "GIVEN": "a 'b' $c" }, "cwd": bench.host.path("bin") });
    let outcome = bench.run(with).await.unwrap();
    let printed = outcome.result["stdout"].as_str().unwrap();
    let mut names: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.retain(|name| !["LANG", "TZ"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["GIVEN", "HOME", "PATH"], "{printed}");
    assert!(printed.contains("GIVEN=a 'b' $c\n"), "{printed}");
    let reading = bench.action(json!({ "argv": ["pwd"], "cwd": bench.host.path("bin") }));
    let outcome = reading.execute(&bench.reading()).await.unwrap();
    assert_eq!(
        outcome.result["stdout"],
        format!("{}\n", bench.host.path("bin").display())
    );
    let with = json!({ "argv": ["touch", bench.host.path("never")], "cwd": "/no such folder" });
    for cx in [bench.cx(), bench.reading()] {
        let words = failed(bench.action(with.clone()).execute(&cx).await, Permanent);
        assert!(
            words.contains("/no such folder") && words.contains("nothing was begun"),
            "{words}"
        );
    }
    assert!(!bench.host.path("never").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_a_failure_unless_it_is_expected() {
    for mutates in [true, false] {
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let argv = json!(["sh", "-c", "echo first >&2; echo no disk >&2; exit 3"]);
        let words = failed(bench.action(json!({ "argv": argv })).execute(&cx).await, Permanent);
        assert!(
            words.contains("sh ended with 3 on ") && words.ends_with("no disk"),
            "{words}"
        );
        if mutates {
            let seen = unknown(bench.observe().await);
            assert!(seen.contains("sh ended with 3") && seen.contains("no disk"), "{seen}");
        }
        for (expect, holds) in [("code == 3 and 'disk' in stderr", true), ("code == 4", false)] {
            let bench = Bench::new();
            let cx = if mutates { bench.cx() } else { bench.reading() };
            let action = bench.action(json!({ "argv": argv, "expect": expect }));
            let outcome = action.execute(&cx).await;
            if holds {
                assert_eq!(outcome.unwrap().result["code"], 3);
            } else {
                assert!(failed(outcome, Permanent).contains("code == 4 is false"));
            }
            if mutates && holds {
                done(action.observe(&cx).await.unwrap());
            }
        }
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let missing = bench.action(json!({ "argv": ["no-such-program-here"] }));
        let words = failed(missing.execute(&cx).await, Permanent);
        assert!(
            words.contains("127") && words.contains("no-such-program-here"),
            "{words}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_a_signal_is_told() {
    for mutates in [true, false] {
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let words = failed(bench.script("kill -KILL $$").execute(&cx).await, Permanent);
        assert!(
            words.contains("ended with 137 (what a shell says of SIGKILL)"),
            "{words}"
        );
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let expected = json!({ "argv": ["sh", "-c", "kill -TERM $$"], "expect": "signal == 'TERM'" });
        let outcome = bench.action(expected).execute(&cx).await.unwrap();
        assert_eq!(
            (&outcome.result["code"], &outcome.result["signal"]),
            (&json!(143), &json!("TERM"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_cut_counted_and_digested() {
    use sha2::Digest;
    let digest = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(vec![0; 10_000_000]));
    for mutates in [true, false] {
        let bench = Bench::new();
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let action = bench.action(json!({ "argv": ["head", "-c", "10000000", "/dev/zero"] }));
        let outcome = action.execute(&cx).await.unwrap();
        let stdout = &outcome.evidence[0].1;
        assert!(stdout.len() < 1_100_000, "{}", stdout.len());
        let end = String::from_utf8_lossy(&stdout[stdout.len() - 120..]).into_owned();
        assert!(
            end.contains(&format!("[cut: 10000000 bytes in all, SHA-256 {digest}]")),
            "{end}"
        );
        assert!(outcome.result["stdout"].as_str().unwrap().len() <= 8 * 1024);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_leaves_nothing_behind_and_may_be_done_again_at_the_same_time() {
    let bench = Bench::new();
    let action = bench.script("echo seen");
    let (cx, other) = (bench.reading(), bench.reading());
    let (first, second) = tokio::join!(action.execute(&cx), action.execute(&other));
    assert_eq!(first.unwrap().result["stdout"], "seen\n");
    assert_eq!(second.unwrap().result["stdout"], "seen\n");
    assert!(!bench.host.path("state").join("pointsman").exists());
    assert!(unknown(action.observe(&bench.reading()).await.unwrap()).contains("leaves no mark"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_twice_under_one_name() {
    let bench = Bench::new();
    let detail = not_started(bench.observe().await);
    assert!(detail.contains("was never begun"), "{detail}");
    let mark = bench.host.path("mark");
    let action = bench.script(&format!("echo once >> {}", mark.display()));
    action.execute(&bench.cx()).await.unwrap();
    let words = failed(action.execute(&bench.cx()).await, InDoubt);
    assert!(words.contains("was begun before"), "{words}");
    assert_eq!(fs::read_to_string(mark).unwrap(), "once\n");
    done(bench.observe().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_record_does_not_know_of_is_not_begun() {
    for mutates in [true, false] {
        let mut bench = Bench::new();
        bench.heard = std::sync::Arc::new(crate::bench::Heard {
            deaf: true,
            ..Default::default()
        });
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let mark = bench.host.path("mark");
        let words = failed(
            bench.script(&format!("touch {}", mark.display())).execute(&cx).await,
            InDoubt,
        );
        assert!(words.contains("the disk is full"), "{words}");
        let group = bench.group();
        bench.wait("the end of what was offered", || {
            !processes().iter().any(|process| process.group == group) && !bench.host.notes(KEY).exists()
        });
        assert!(!mark.exists());
        not_started(bench.observe().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_before_was_not_begun_though_it_arrives_later() {
    let bench = Bench::new();
    let pipe = bench.pipe();
    let line = fs::read_to_string(bench.host.path("guest.pub")).unwrap();
    // The host takes its time.
    let late = format!("command=\"read word < {}; exec /bin/sh\" {line}", pipe.display());
    fs::write(bench.host.path("authorized_keys"), late).unwrap();
    let mark = bench.host.path("mark");
    let (action, cx) = (bench.script(&format!("touch {}", mark.display())), bench.cx());
    let offered = tokio::spawn(async move { action.execute(&cx).await });
    let late = format!("read word < {}", pipe.display());
    let waits = || processes().iter().any(|process| process.holds(&late));
    bench.wait("the command that is late", waits);
    bench.cancel.cancel();
    let words = failed(offered.await.unwrap(), Cancelled);
    assert!(words.contains("nothing was done"), "{words}");
    bench.let_go();
    let folder = bench.host.path("").display().to_string();
    let under_way = || {
        processes()
            .iter()
            .any(|process| process.holds(&folder) && process.name != "sshd")
    };
    bench.wait("its end", || !under_way() && !bench.host.notes(KEY).exists());
    assert!(!mark.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_between_the_offer_and_the_word_is_not_begun() {
    for mutates in [true, false] {
        let mut bench = Bench::new();
        bench.heard = std::sync::Arc::new(crate::bench::Heard {
            cancels: Some(bench.cancel.clone()),
            ..Default::default()
        });
        let cx = if mutates { bench.cx() } else { bench.reading() };
        let mark = bench.host.path("mark");
        let script = bench.script(&format!("touch {}", mark.display()));
        let words = failed(script.execute(&cx).await, Cancelled);
        assert!(words.contains("before it was begun"), "{words}");
        let group = bench.group();
        bench.wait("the end of what was offered", || {
            !processes().iter().any(|process| process.group == group) && !bench.host.notes(KEY).exists()
        });
        assert!(!mark.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_offered_has_its_cause_named() {
    let bench = Bench::new();
    // One word alone is longer than Linux hands over.
    let long = "x".repeat(200 * 1024);
    let words = failed(bench.run(json!({ "argv": ["echo", long] })).await, Permanent);
    assert!(
        words.contains("nothing was begun") && words.contains("128 KiB"),
        "{}",
        &words[..words.len().min(300)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_was_not_heard_whole_is_said_to_be_short() {
    let bench = Bench::new();
    // Its child holds the output open, so that it never ends.
    let pipe = bench.pipe();
    let argv = json!(["sh", "-c", format!("read word < {} & echo begun", pipe.display())]);
    let outcome = bench.action(json!({ "argv": argv })).execute(&bench.reading()).await;
    let outcome = outcome.unwrap();
    assert!(
        outcome.summary.contains("not all that it printed was heard"),
        "{}",
        outcome.summary
    );
    assert_eq!(outcome.evidence[0].1, b"begun\n\n[short: not all was heard]\n");
    bench.let_go();
    let judged = json!({ "argv": argv, "expect": "'error' not in stdout" });
    let words = failed(bench.action(judged).execute(&bench.reading()).await, Transient);
    assert!(words.contains("cannot be judged"), "{words}");
    bench.let_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_talks_first_is_no_matter_and_one_that_refuses_is_told() {
    let mut host = Host::down();
    let line = fs::read_to_string(host.path("guest.pub")).unwrap();
    let forced =
        |command: &str| fs::write(host.path("authorized_keys"), format!("command=\"{command}\" {line}")).unwrap();
    forced("printf 'welcome, no line feed'; exec $SSH_ORIGINAL_COMMAND");
    host.serve();
    host.know(&["host_ed25519"]);
    let bench = Bench::of(host);
    let outcome = bench.run(json!({ "argv": ["echo", "hello"] })).await.unwrap();
    assert_eq!(outcome.result["stdout"], "hello\n");
    let forced = format!("command=\"echo This account is closed.; exit 1\" {line}");
    fs::write(bench.host.path("authorized_keys"), forced).unwrap();
    let words = failed(bench.script("true").execute(&bench.reading()).await, Permanent);
    assert!(
        words.contains("This account is closed.") && words.contains("nothing was begun"),
        "{words}"
    );
}

#[test]
fn what_could_become_something_else_is_refused_when_it_is_made() {
    let host = Host::down();
    let connections = Connections::new().with("host", Target::Ssh(host.target()));
    let made = |with: Value| {
        let on = ["host".to_owned()];
        let request = Request {
            uses: "ssh.command",
            on: &on,
            with: &with,
        };
        match build(&request, &connections) {
            Err(BuildError::Parameter(words)) => words,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was made: {with}"),
        }
    };
    assert!(made(json!({ "argv": [] })).contains("no program"));
    assert!(made(json!({ "argv": ["A=b"] })).contains("a = in its name"));
    assert!(made(json!({ "argv": ["echo", "a\0b"] })).contains("NUL"));
    assert!(made(json!({ "argv": ["env"], "env": { "-i": "x" } })).contains("no variable's name"));
    assert!(made(json!({ "argv": ["true"], "unit": "--help" })).contains("no unit's name"));
    assert!(made(json!({ "argv": ["true"], "shell": true })).contains("shell"));
}
