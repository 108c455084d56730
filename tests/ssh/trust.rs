//! Whom we trust and who trusts us, before anything is begun.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use pointsman::provider::action::ActionErrorKind::{Permanent, Transient};
use pointsman::provider::action::{ActionError, Cx, Ready};
use pointsman::provider::ssh::target::{Proof, SshTarget};
use serde_json::json;

use crate::bench::{Bench, action, failed};
use crate::server::Host;

async fn meet(bench: &Bench, target: SshTarget) -> Result<Ready, ActionError> {
    action(target, &json!({ "argv": ["true"] })).check(&bench.cx()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_serve_may_be_tried_again() {
    let mut bench = Bench::of(Host::down());
    let words = failed(meet(&bench, bench.host.target()).await, Transient);
    assert!(words.contains("cannot be reached at 127.0.0.1"), "{words}");
    failed(bench.run(json!({ "argv": ["true"] })).await, Transient);
    let nowhere = SshTarget {
        host: "no-such-host.invalid".to_owned(),
        ..bench.host.target()
    };
    let words = failed(meet(&bench, nowhere).await, Transient);
    assert!(words.contains("no address"), "{words}");
    bench.host.serve();
    bench.host.know(&["host_ed25519"]);
    meet(&bench, bench.host.target()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_ssh_server_is_told_so() {
    let bench = Bench::of(Host::down());
    let listener = std::net::TcpListener::bind(("127.0.0.1", bench.host.port)).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let words = failed(meet(&bench, bench.host.target()).await, Transient);
    answering.join().unwrap();
    assert!(words.contains("the handshake failed"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_refused_with_the_line_that_would_make_it_known() {
    let bench = Bench::new();
    fs::remove_file(bench.host.path("known_hosts")).unwrap();
    let words = failed(bench.run(json!({ "argv": ["true"] })).await, Permanent);
    let fingerprint = bench.host.fingerprint("host_ed25519");
    assert!(
        words.contains(&format!("it shows ssh-ed25519 {fingerprint}")),
        "{words}"
    );
    let line = words.rsplit_once("add the line: ").unwrap().1;
    assert_eq!(line, bench.host.line("host_ed25519"));
    bench.host.write_known(line);
    let ready = meet(&bench, bench.host.target()).await.unwrap();
    assert_eq!(ready.identity["host_key"], format!("ssh-ed25519 {fingerprint}"));
    assert_eq!(ready.identity["port"], bench.host.port);
    assert_eq!(ready.identity["host"], "127.0.0.1");
    // Another port of the same name is another host.
    let mut other = Host::down();
    other.serve();
    let target = SshTarget {
        known_hosts: bench.host.path("known_hosts"),
        ..other.target()
    };
    assert!(failed(meet(&bench, target).await, Permanent).contains("is not known"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_loudly_and_nothing_is_said_to_it() {
    let bench = Bench::new();
    bench.host.make_key("ed25519", "earlier", "");
    bench.host.know(&["earlier"]);
    let words = failed(bench.run(json!({ "argv": ["true"] })).await, Permanent);
    assert!(
        words.contains("THE HOST KEY OF") && words.contains("HAS CHANGED"),
        "{words}"
    );
    assert!(words.contains(&bench.host.fingerprint("host_ed25519")), "{words}");
    assert!(words.contains("line 3 of"), "{words}");
    let log = fs::read_to_string(bench.host.path("sshd.log")).unwrap();
    assert!(!log.contains("Accepted"), "{log}");
    // A key of another kind does not make it unchanged.
    bench.host.make_key("rsa", "earlier_rsa", "");
    bench.host.know(&["earlier_rsa"]);
    assert!(failed(meet(&bench, bench.host.target()).await, Permanent).contains("HAS CHANGED"));
    bench
        .host
        .write_known(&format!("@revoked {}", bench.host.line("host_ed25519")));
    assert!(failed(meet(&bench, bench.host.target()).await, Permanent).contains("IS REVOKED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_revoked_whatever_its_line_names() {
    let bench = Bench::new();
    let line = bench.host.line("host_ed25519");
    let (_, key) = line.split_once(' ').unwrap();
    for names in ["*", "*.example.com", "elsewhere.test"] {
        bench.host.write_known(&format!("{line}\n@revoked {names} {key}"));
        let words = failed(meet(&bench, bench.host.target()).await, Permanent);
        assert!(words.contains("IS REVOKED"), "{names}: {words}");
    }
    bench
        .host
        .write_known(&format!("{line}\n@revoked * ssh-ed25519 not*a*key"));
    let words = failed(meet(&bench, bench.host.target()).await, Permanent);
    assert!(words.contains("line 4 revokes a key that cannot be read"), "{words}");
    bench.host.make_key("ed25519", "other", "");
    let other = bench.host.line("other");
    bench.host.write_known(&format!("{line}\n@revoked {other}"));
    meet(&bench, bench.host.target()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_the_port_speaks_only_where_none_with_it_does() {
    let bench = Bench::new();
    bench.host.make_key("ed25519", "other", "");
    let plain = |key: &str| {
        bench
            .host
            .line(key)
            .replace(&format!("[127.0.0.1]:{}", bench.host.port), "127.0.0.1")
    };
    bench.host.write_known(&plain("host_ed25519"));
    meet(&bench, bench.host.target()).await.unwrap();
    // The key may be that of another port.
    bench.host.write_known(&plain("other"));
    assert!(failed(meet(&bench, bench.host.target()).await, Permanent).contains("is not known"));
    bench
        .host
        .write_known(&format!("{}\n{}", plain("host_ed25519"), bench.host.line("other")));
    let words = failed(meet(&bench, bench.host.target()).await, Permanent);
    assert!(words.contains("HAS CHANGED") && words.contains("line 4 of"), "{words}");
    bench
        .host
        .write_known(&format!("{}\n{}", plain("other"), bench.host.line("host_ed25519")));
    meet(&bench, bench.host.target()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_known_by_a_hashed_name_and_asked_for_the_kind_of_key_that_is_known() {
    let bench = Bench::new();
    bench.host.know(&["host_rsa"]);
    let hashed = Command::new("ssh-keygen")
        .arg("-Hf")
        .arg(bench.host.path("known_hosts"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(hashed.success());
    let text = fs::read_to_string(bench.host.path("known_hosts")).unwrap();
    assert!(text.contains("|1|") && !text.contains("127.0.0.1"), "{text}");
    let ready = meet(&bench, bench.host.target()).await.unwrap();
    let key = format!("ssh-rsa {}", bench.host.fingerprint("host_rsa"));
    assert_eq!(ready.identity["host_key"], key);
    // Among several names and keys the right one is found.
    let (rsa, ed25519) = (bench.host.line("host_rsa"), bench.host.line("host_ed25519"));
    bench.host.write_known(&format!("other.test,{ed25519}\n{rsa}"));
    let ready = meet(&bench, bench.host.target()).await.unwrap();
    let key = format!("ssh-ed25519 {}", bench.host.fingerprint("host_ed25519"));
    assert_eq!(ready.identity["host_key"], key);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_than_the_approved_one_is_not_used_though_it_is_known() {
    let bench = Bench::new();
    let action = bench.script("echo done >&2");
    let ready = action.check(&bench.cx()).await.unwrap();
    let approved = Cx {
        identity: ready.identity,
        ..bench.cx()
    };
    bench.host.know(&["host_rsa"]);
    let words = failed(action.execute(&approved).await, Permanent);
    assert!(words.contains("was approved"), "{words}");
    let words = failed(action.observe(&approved).await, Permanent);
    assert!(words.contains("was approved"), "{words}");
    bench.host.know(&["host_ed25519"]);
    action.execute(&approved).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_has_begun_nothing() {
    let bench = Bench::new();
    bench.host.make_key("ed25519", "stranger", "");
    let with = |proof: Proof| SshTarget {
        proof,
        ..bench.host.target()
    };
    let key = |name: &str| {
        with(Proof::Key {
            file: bench.host.path(name),
            passphrase: None,
        })
    };
    let words = failed(meet(&bench, key("stranger")).await, Permanent);
    assert!(
        words.contains("refused the key") && words.contains("authorized_keys"),
        "{words}"
    );
    let words = failed(meet(&bench, key("missing")).await, Permanent);
    assert!(words.contains("cannot be read"), "{words}");
    let words = failed(
        meet(&bench, with(Proof::Password("not the password".to_owned()))).await,
        Permanent,
    );
    assert!(
        words.contains("refused the password") && !words.contains("not the"),
        "{words}"
    );
    assert!(!format!("{:?}", with(Proof::Password("hidden".to_owned()))).contains("hidden"));
    fs::set_permissions(bench.host.path("guest"), fs::Permissions::from_mode(0o644)).unwrap();
    let words = failed(meet(&bench, key("guest")).await, Permanent);
    assert!(words.contains("chmod 600"), "{words}");
    assert!(!bench.host.path("state").join("pointsman").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_have_a_passphrase() {
    let bench = Bench::new();
    bench.host.make_key("ed25519", "locked", "open sesame");
    fs::copy(bench.host.path("locked.pub"), bench.host.path("authorized_keys")).unwrap();
    let locked = |passphrase: Option<&str>| SshTarget {
        proof: Proof::Key {
            file: bench.host.path("locked"),
            passphrase: passphrase.map(str::to_owned),
        },
        ..bench.host.target()
    };
    meet(&bench, locked(Some("open sesame"))).await.unwrap();
    for wrong in [Some("close sesame"), None] {
        let words = failed(meet(&bench, locked(wrong)).await, Permanent);
        assert!(
            words.contains("refused the key") && !words.contains("sesame"),
            "{words}"
        );
    }
}

/// An agent that is ended with the test.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// An agent that answers at this socket.
fn agent(bench: &Bench, socket: &std::path::Path) -> Agent {
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Agent(agent);
    bench.wait("the agent", || socket.exists());
    agent
}

/// Makes the key where it is missing, and gives it to the agent.
fn add(bench: &Bench, socket: &std::path::Path, key: &str) {
    if !bench.host.path(key).exists() {
        bench.host.make_key("ed25519", key, "");
    }
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(bench.host.path(key))
        .env("SSH_AUTH_SOCK", socket)
        .status()
        .unwrap();
    assert!(added.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_an_agent_are_tried() {
    let bench = Bench::new();
    let socket = bench.host.path("agent");
    let target = SshTarget {
        proof: Proof::Agent { socket: socket.clone() },
        ..bench.host.target()
    };
    let words = failed(meet(&bench, target.clone()).await, Permanent);
    assert!(words.contains("does not answer"), "{words}");
    let _agent = agent(&bench, &socket);
    let words = failed(meet(&bench, target.clone()).await, Permanent);
    assert!(words.contains("has no key"), "{words}");
    for key in ["stranger", "guest"] {
        add(&bench, &socket, key);
    }
    meet(&bench, target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_up_after_many_keys_is_not_tried_again() {
    let bench = Bench::new();
    let socket = bench.host.path("agent");
    let _agent = agent(&bench, &socket);
    for number in 1..=8 {
        add(&bench, &socket, &format!("stranger{number}"));
    }
    let target = SshTarget {
        proof: Proof::Agent { socket },
        ..bench.host.target()
    };
    let words = failed(meet(&bench, target).await, Permanent);
    assert!(
        words.contains("of 8 keys of the agent and hung up; offer fewer"),
        "{words}"
    );
}
