//! The cockpit in a real terminal: `tmux` holds it, keys are sent, the screen is read back, `dig` asks the lab's DNS
//! server. Played from the first gate to `committed` at two sizes, resized on the way; a terminal that is closed leaves
//! a run that goes on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{LabProcess, Place, QUICKSTART, assert_nothing_twice, wait_for};

/// A terminal of its own, ended when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(place: &Place, columns: u16, rows: u16, arguments: &[&str]) -> Self {
        let socket = place.path("tmux").display().to_string();
        let terminal = Self { socket };
        let inner = place.command(arguments);
        let mut words = vec![quoted(inner.get_program())];
        words.extend(inner.get_args().map(quoted));
        let environment = inner.get_envs().map(|(name, value)| {
            let value = value.map(quoted).unwrap_or_default();
            format!("{}={value}", name.display())
        });
        let environment: Vec<String> = environment.collect();
        let line = format!(
            "env -i TERM=$TERM LANG=C.UTF-8 {} {}; echo EXIT $?; read held",
            environment.join(" "),
            words.join(" ")
        );
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let started = terminal
            .tmux()
            .args(["-f", "/dev/null", "-u", "new-session", "-d", "-s", "cockpit"])
            .args(["-x", &columns, "-y", &rows, &line])
            .status();
        assert!(
            started.is_ok_and(|status| status.success()),
            "tmux is needed: tests/run installs it"
        );
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).stderr(Stdio::null());
        command
    }

    fn screen(&self) -> String {
        let output = self
            .tmux()
            .args(["capture-pane", "-p", "-t", "cockpit"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What has scrolled by, too.
    fn everything(&self) -> String {
        let output = self
            .tmux()
            .args(["capture-pane", "-p", "-J", "-S", "-", "-t", "cockpit"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        let sent = self.tmux().args(["send-keys", "-t", "cockpit"]).args(keys).status();
        assert!(sent.unwrap().success());
    }

    #[track_caller]
    fn wait(&self, words: &str) -> String {
        let mut seen = String::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            seen = self.screen();
            if seen.contains(words) {
                return seen;
            }
            std::thread::park_timeout(Duration::from_millis(30));
        }
        panic!("\"{words}\" was never seen; the screen shows\n{seen}");
    }

    /// Opens the gate that waits and approves it as its window says.
    fn approve(&self) {
        self.keys(&["a"]);
        let asked_at = Instant::now();
        let window = loop {
            let screen = self.screen();
            // The last line of the window: a frame that is still being drawn has no phrase yet.
            if screen.contains("Approve?") && screen.contains("approves, Esc goes back") {
                break screen;
            }
            // The gate was answered between the look and the key: there is nothing to approve.
            if !screen.contains("- a looks") || asked_at.elapsed() > Duration::from_secs(2) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(30));
        };
        let asked = window
            .split("request ")
            .nth(1)
            .unwrap()
            .split(')')
            .next()
            .unwrap()
            .to_owned();
        let phrase = window.split("to approve, type exactly: ").nth(1).map(|rest| {
            let line = rest.lines().next().unwrap();
            line.split('│').next().unwrap().trim().to_owned()
        });
        match phrase {
            Some(phrase) => {
                self.keys(&["-l", &phrase]);
                self.wait(&format!("> {phrase}"));
                self.keys(&["Enter"]);
            }
            None => self.keys(&["y"]),
        }
        wait_for(&format!("the vote on request {asked}"), || {
            !self.screen().contains("Approve?")
        });
    }

    /// Plays until the screen shows `words`.
    fn play_until(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let screen = self.screen();
            if screen.contains(words) {
                return;
            }
            assert!(Instant::now() < deadline, "\"{words}\" was never reached:\n{screen}");
            if screen.contains("- a looks") {
                self.approve();
            } else {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.tmux().arg("kill-server").status();
    }
}

fn quoted(text: &std::ffi::OsStr) -> String {
    format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"))
}

fn dig(lab: &LabProcess) -> String {
    let dns = lab.endpoints().dns;
    let output = Command::new("dig")
        .args(["+short", "+tries=1", "+time=2", &format!("@{}", dns.ip())])
        .args(["-p", &dns.port().to_string(), "erp.lab.test", "A"])
        .output();
    let output = output.unwrap_or_else(|error| panic!("dig is needed, tests/run installs it: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn played_to_committed(columns: u16, rows: u16) {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let folder = lab.folder.display().to_string();
    let arguments = ["run", QUICKSTART, "--env", "lab", "--lab", &folder];
    let terminal = Terminal::open(&place, columns, rows, &arguments);
    terminal.wait("1 Go or no go");
    terminal.play_until("request 12: 12 Point the record");
    assert_eq!(dig(&lab), "127.0.0.1", "nothing is flipped before its approval");
    // Somebody drags the window about.
    terminal
        .tmux()
        .args(["resize-window", "-t", "cockpit", "-x", "50", "-y", "10"])
        .status()
        .unwrap();
    terminal.wait("terminal too small");
    let (wide, high) = (columns.to_string(), rows.to_string());
    terminal
        .tmux()
        .args(["resize-window", "-t", "cockpit", "-x", &wide, "-y", &high])
        .status()
        .unwrap();
    terminal.play_until("asks to commit");
    assert_eq!(dig(&lab), "127.0.0.2", "the flip is seen by dig");
    terminal.play_until("the run is over: committed");
    terminal.keys(&["q"]);
    terminal.wait("EXIT 0");
    let left = terminal.everything();
    for words in ["committed, exit 0", "downtime: ", " 0 lost writes of "] {
        assert!(left.contains(words), "{words}\n{left}");
    }
    assert_nothing_twice(&lab, &[]);
    place
        .program(&["verify", &place.only_run(), "--require", "chain"])
        .expect(0);
}

#[test]
fn played_to_committed_at_80_by_24() {
    played_to_committed(80, 24);
}

#[test]
fn played_to_committed_at_120_by_40() {
    played_to_committed(120, 40);
}

#[test]
fn a_closed_terminal_leaves_a_run_that_goes_on() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let folder = lab.folder.display().to_string();
    let arguments = ["run", QUICKSTART, "--env", "lab", "--lab", &folder];
    let terminal = Terminal::open(&place, 80, 24, &arguments);
    terminal.play_until("request 6: 6 Freeze writes");
    drop(terminal);
    let run = place.only_run();
    wait_for("the run to be left", || {
        place.program(&["runs", "--format", "json"]).out.contains("interrupted")
    });
    let journal = place.run_folder(&run).join("journal/000001.jsonl");
    assert!(
        std::fs::read_to_string(journal)
            .unwrap()
            .contains("\"ev\":\"interrupted\"")
    );
    let terminal = Terminal::open(&place, 80, 24, &["resume", &run]);
    terminal.wait("6 Freeze writes");
    terminal.keys(&["q"]);
    terminal.wait("hold and exit");
    terminal.keys(&["y"]);
    terminal.wait("EXIT 3");
    drop(terminal);
    let ended = place
        .program(&["resume", &run, "--headless", "--approve-all", "--format", "json"])
        .expect(0);
    assert_eq!(ended.lost(), 0);
    assert_nothing_twice(&lab, &[]);
}

/// A cockpit that looks on while a snapshot never gets ready; gives the terminal.
fn in_the_middle_of_a_snapshot(place: &Place, lab: &LabProcess) -> Terminal {
    let folder = lab.folder.display().to_string();
    let arguments = ["run", QUICKSTART, "--env", "lab", "--lab", &folder];
    let terminal = Terminal::open(place, 80, 24, &arguments);
    terminal.play_until("request 3: 3 Snapshot");
    terminal.approve();
    wait_for("the snapshot to be accepted", || {
        count(place, "effect.ack", Some("snapshot")) == 1
    });
    terminal
}

fn count(place: &Place, ev: &str, step: Option<&str>) -> usize {
    let run = place.run_folder(&place.only_run());
    let records = pointsman::journal::reader::read_run(&run).unwrap().records;
    let meant =
        |record: &&pointsman::journal::Record| record.ev == ev && (step.is_none() || record.step.as_deref() == step);
    records.iter().filter(meant).count()
}

/// The same lab without its fault: the run goes on to its end, and nothing is done twice.
fn goes_on_without_the_fault(place: &Place, lab: LabProcess) {
    assert_eq!(count(place, "interrupted", None), 1);
    assert_eq!(
        count(place, "effect.outcome", Some("snapshot")),
        0,
        "it was not waited for"
    );
    drop(lab);
    let lab = place.lab("lab", &[]);
    let run = place.only_run();
    let ended = place
        .program(&["resume", &run, "--headless", "--approve-all", "--format", "json"])
        .expect(0);
    assert_eq!(ended.lost(), 0);
    assert_nothing_twice(&lab, &[]);
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
}

#[test]
fn a_terminal_that_is_killed_in_the_middle_of_an_effect_leaves_it_to_go_on() {
    let place = Place::new();
    let lab = place.lab("lab", &["snapshot-stalls"]);
    drop(in_the_middle_of_a_snapshot(&place, &lab));
    wait_for("the run to be left", || {
        place
            .program(&["runs", "--format", "json"])
            .out
            .contains("\"interrupted\"")
    });
    goes_on_without_the_fault(&place, lab);
}

#[test]
fn signals_end_a_cockpit_in_order_and_give_the_terminal_back() {
    std::thread::scope(|scope| {
        for signal in ["INT", "TERM", "HUP"] {
            scope.spawn(move || {
                let place = Place::new();
                let lab = place.lab("lab", &["snapshot-stalls"]);
                let terminal = in_the_middle_of_a_snapshot(&place, &lab);
                let holder = std::fs::read(place.run_folder(&place.only_run()).join("run.lock")).unwrap();
                let holder: serde_json::Value = serde_json::from_slice(&holder).unwrap();
                let pid = holder["pid"].to_string();
                for _ in 0..2 {
                    // The second one may come when it has ended already.
                    let _sent = Command::new("kill")
                        .args(["-s", signal, &pid])
                        .stderr(Stdio::null())
                        .status();
                }
                terminal.wait("EXIT 3");
                assert!(terminal.everything().contains("pointsman resume "), "{signal}");
                goes_on_without_the_fault(&place, lab);
            });
        }
    });
}
