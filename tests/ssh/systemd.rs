//! `unit:` against systemd itself: a manager of an account, in a mount and control group namespace of its own, that is
//! reached through its runtime folder. Where it cannot be started (it takes a root that may mount), that is said; where it
//! can, not to start is a failure under `tests/run`. What the manager of the system does differently is not shown here.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pointsman::provider::action::ActionErrorKind::{InDoubt, Permanent};
use serde_json::json;

use crate::bench::{Bench, KEY, done, failed, not_started, running, unknown};
use crate::server::{Host, kill};
use crate::support::wait_for;

/// Starts a manager whose control groups are below one of its own, and ends it with standard input: nothing of it is left.
const MANAGER: &str = r#"
set -e
export XDG_RUNTIME_DIR="$1"
mount --make-rprivate /
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
own=/sys/fs/cgroup/systemd/pointsman-test-$$
mkdir "$own"
echo $$ >"$own/cgroup.procs"
unshare -C -m sh -c '
  set -e
  umount /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
  # A manager takes everybody of its root into its care: that root must be its own.
  grep -qx $$ /sys/fs/cgroup/systemd/cgroup.procs
  ! grep -qx 1 /sys/fs/cgroup/systemd/cgroup.procs
  mkdir -p /run/systemd
  mount -t tmpfs tmpfs /run/systemd
  mkdir /run/systemd/system
  systemd=/lib/systemd/systemd
  [ -x $systemd ] || systemd=/usr/lib/systemd/systemd
  $systemd --user --log-target=null &
  read -r word || :
  kill -TERM $!
  wait $! || :
' <&0 || :
echo $$ >/sys/fs/cgroup/systemd/cgroup.procs
find "$own" -depth -type d -exec rmdir {} \;
"#;

/// Root of the machine is an account like others here: the manager is the account's.
const ID: &str = "#!/bin/sh\n[ \"$*\" != -u ] || exec echo 1000\nexec /usr/bin/id \"$@\"\n";

/// A manager of units.
struct Manager {
    process: Child,
    runtime: PathBuf,
}

impl Manager {
    /// Nothing where there can be none.
    fn start(runtime: &Path) -> Option<Self> {
        let wanted = ["CI", "POINTSMAN_PEERS"];
        let needed = can_mount(runtime) && wanted.into_iter().any(|name| std::env::var_os(name).is_some());
        let mut process = Command::new("unshare")
            .args(["-m", "sh", "-c", MANAGER, "manager"])
            .arg(runtime)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut there = false;
        wait_for("the manager", || {
            there = systemctl(runtime, &["show-environment"]).is_some();
            there || process.try_wait().unwrap().is_some()
        });
        let manager = Self {
            process,
            runtime: runtime.to_owned(),
        };
        if there {
            return Some(manager);
        }
        assert!(!needed, "no manager of units could be started, and it is needed");
        let mut out = std::io::stderr();
        writeln!(
            out,
            "SKIPPED: no manager of units can be started; it takes root, unshare and systemd"
        )
        .unwrap();
        None
    }

    /// What the manager says of a unit.
    fn says(&self, property: &str) -> String {
        systemctl(&self.runtime, &["show", "-p", property, "move-1"]).unwrap_or_default()
    }
}

/// Whether this account may do what the manager's namespace takes.
fn can_mount(at: &Path) -> bool {
    let script = "mount --make-rprivate / && mount -t cgroup -o none,name=systemd systemd \"$1\"";
    let tried = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "mount"])
        .arg(at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|tried| tried.success())
}

fn systemctl(runtime: &Path, words: &[&str]) -> Option<String> {
    let said = Command::new("systemctl")
        .arg("--user")
        .args(words)
        .env("XDG_RUNTIME_DIR", runtime)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    said.status
        .success()
        .then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

impl Drop for Manager {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::yield_now();
        }
        if let Some(group) = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _reaped = self.process.wait();
    }
}

/// A host, and its manager, which ends before it.
fn bench() -> Option<(Bench, Manager)> {
    let host = Host::new();
    host.install("id", ID);
    let manager = Manager::start(&host.path("runtime"))?;
    Some((Bench::of(host), manager))
}

fn with(script: &str) -> serde_json::Value {
    json!({ "argv": ["sh", "-c", script], "unit": "move-1", "env": { "GIVEN": "yes" }, "cwd": "/tmp" })
}

fn heard(bench: &Bench, line: &str) {
    bench.wait(line, || {
        bench.heard.lines.lock().unwrap().iter().any(|heard| heard == line)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_begun_followed_and_its_name_is_free_again() {
    let Some((bench, manager)) = bench() else { return };
    let outcome = bench.run(with("pwd; echo $GIVEN; echo complaint >&2")).await.unwrap();
    assert_eq!(outcome.result["stdout"], "/tmp\nyes\n");
    assert_eq!(outcome.result["stderr"], "complaint\n");
    done(bench.observe().await);
    bench.wait("the name", || manager.says("LoadState") == "LoadState=not-found");
    let mut again = bench.cx();
    again.key = "pm-again".to_owned();
    let words = failed(
        bench.action(with("echo no >&2; exit 7")).execute(&again).await,
        Permanent,
    );
    assert!(words.contains("ended with 7") && words.ends_with("no"), "{words}");
    bench.wait("the name of what failed", || {
        manager.says("LoadState") == "LoadState=not-found"
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_begun() {
    let Some((bench, manager)) = bench() else { return };
    let taken = Command::new("systemd-run")
        .args(["--user", "--quiet", "--unit=move-1", "sleep", "600"])
        .env("XDG_RUNTIME_DIR", &manager.runtime)
        .status()
        .unwrap();
    assert!(taken.success());
    let mark = bench.host.path("mark");
    let words = failed(bench.run(with(&format!("touch {}", mark.display()))).await, Permanent);
    assert!(words.contains("was not begun"), "{words}");
    assert!(!mark.exists());
    not_started(bench.observe().await);
    assert_eq!(
        manager.says("ActiveState"),
        "ActiveState=active",
        "somebody else's goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_found_again_by_the_manager_though_nobody_kept_it() {
    let Some((bench, _manager)) = bench() else { return };
    let pipe = bench.pipe();
    let script = format!("echo begun; read word < {}; echo \"$word on\"; exit 4", pipe.display());
    let running_one = bench.begin(bench.action(with(&script)), bench.cx());
    heard(&bench, "begun");
    kill(bench.group(), rustix::process::Signal::KILL);
    failed(running_one.await.unwrap(), InDoubt);
    let detail = running(bench.observe().await);
    assert!(detail.contains("still runs as its unit"), "{detail}");
    bench.let_go();
    let mut expected = with("true");
    expected["expect"] = json!("code == 4");
    let outcome = bench.action(expected).adopt(&bench.cx()).await.unwrap();
    assert_eq!(outcome.result["stdout"], "begun\ngo on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_a_signal_ended_is_told_by_the_manager() {
    let Some((bench, manager)) = bench() else { return };
    let running_one = bench.begin(bench.action(with("echo begun; sleep 600")), bench.cx());
    heard(&bench, "begun");
    assert!(systemctl(&manager.runtime, &["kill", "--signal=KILL", "move-1"]).is_some());
    let words = failed(running_one.await.unwrap(), Permanent);
    assert!(words.contains("SIGKILL"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_unit_with_all_that_it_started() {
    let Some((bench, manager)) = bench() else { return };
    let running_one = bench.begin(bench.action(with("sleep 600 & echo begun; wait")), bench.cx());
    heard(&bench, "begun");
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(
        words.contains("was ended on request") && !words.contains("NOT CONFIRMED"),
        "{words}"
    );
    let seen = unknown(bench.observe().await);
    assert!(seen.contains("asked to end"), "{seen}");
    bench.wait("the name", || manager.says("LoadState") == "LoadState=not-found");
    assert!(bench.host.notes(KEY).join("asked").exists());
}
