//! Knot and unbound as children of the test: each with a folder and a random port of its own. A shell holds each of them
//! and ends it when the test's end of a pipe closes, so nothing is left whatever becomes of the test.
//!
//! Where a program is missing, a test fails under `tests/run` and in CI, and says elsewhere that it was skipped.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pointsman::provider::dns::lookup::{Asked, ask_resolver};

const PROGRAMS: &[(&str, &str)] = &[
    ("knotd", "knot"),
    ("knsupdate", "knot-dnsutils"),
    ("unbound", "unbound"),
    ("dig", "dnsutils"),
];

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// Whether all programs are there; says so where they are not and need not be.
pub fn installed() -> bool {
    for (name, package) in PROGRAMS {
        if program(name).is_none() {
            let needed = ["CI", "POINTSMAN_PEERS"]
                .map(std::env::var_os)
                .iter()
                .any(Option::is_some);
            let words = format!("{name} is not installed (Debian package {package}); ./tests/run installs it");
            assert!(!needed, "{words}");
            // Not by a macro: the harness would keep it to itself.
            let mut out = std::io::stderr();
            writeln!(out, "SKIPPED: {words}").unwrap();
            return false;
        }
    }
    true
}

/// A running server.
pub struct Server {
    shell: Child,
    pub at: SocketAddr,
    folder: tempfile::TempDir,
}

/// A port that is free for UDP and TCP at this moment.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// The authority of `lab.test` with `record` in it.
    pub async fn knot(record: &str) -> Self {
        Self::start("knotd", |folder, port| {
            let zone = format!(
                "$ORIGIN lab.test.\n@ 60 SOA ns1 hostmaster 1 7200 900 1209600 1\n@ 60 NS ns1\nns1 60 A 127.0.0.1\n{record}\n"
            );
            fs::write(folder.join("zone"), zone).unwrap();
            fs::create_dir(folder.join("db")).unwrap();
            let folder = folder.display();
            format!(
                "server:\n  rundir: \"{folder}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n\
                 \x20 background-workers: 1\nlog:\n  - target: stderr\n    any: info\n\
                 database:\n  storage: \"{folder}/db\"\n\
                 acl:\n  - id: mirror\n    address: 127.0.0.1\n    action: update\n\
                 zone:\n  - domain: lab.test\n    storage: \"{folder}\"\n    file: zone\n    acl: mirror\n    zonefile-sync: -1\n"
            )
        })
        .await
    }

    /// A cache in front of `authority`.
    pub async fn unbound(authority: SocketAddr) -> Self {
        Self::start("unbound", |folder, port| {
            let folder = folder.display();
            let (ip, behind) = (authority.ip(), authority.port());
            format!(
                "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n\
                 \x20 logfile: \"\"\n  log-queries: yes\n  interface: 127.0.0.1@{port}\n  do-ip6: no\n  do-daemonize: no\n\
                 \x20 do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  num-threads: 1\n\
                 \x20 module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\n  qname-minimisation: no\n\
                 remote-control:\n  control-enable: no\n\
                 stub-zone:\n  name: \"lab.test\"\n  stub-addr: {ip}@{behind}\n"
            )
        })
        .await
    }

    async fn start(name: &str, config: impl Fn(&Path, u16) -> String) -> Self {
        let path = program(name).unwrap();
        let mut last = String::new();
        // A free port may be taken before the server has it.
        for _ in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let file = folder.path().join("config");
            fs::write(&file, config(folder.path(), port)).unwrap();
            let shell = Command::new("sh")
                .args(["-c", r#""$@" & read -r _; kill $!; wait $!"#, "sh"])
                .arg(&path)
                .args(if name == "unbound" {
                    &["-d", "-c"][..]
                } else {
                    &["-c"][..]
                })
                .arg(&file)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(fs::File::create(folder.path().join("log")).unwrap())
                .spawn()
                .unwrap();
            let server = Self {
                shell,
                at: SocketAddr::from(([127, 0, 0, 1], port)),
                folder,
            };
            // Not by the record that tests ask for: a cache would have it then.
            let asked = Asked {
                name: "lab.test.".to_owned(),
                kind: "SOA".to_owned(),
            };
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline {
                if ask_resolver(server.at, &asked)
                    .await
                    .is_ok_and(|answer| !answer.values.is_empty())
                {
                    return server;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            last = server.log();
        }
        panic!("{name} does not start: {last}");
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// How often it was asked about a name, as its own log says.
    pub fn asked_about(&self, name: &str) -> usize {
        let wanted = format!(" {name} A IN");
        self.log().lines().filter(|line| line.contains(&wanted)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

/// What `dig`, which is not ours, gets from a server.
pub fn dig(server: SocketAddr, name: &str) -> Vec<String> {
    dig_for(server, name, "A")
}

/// The same for another type.
pub fn dig_for(server: SocketAddr, name: &str, kind: &str) -> Vec<String> {
    let output = Command::new(program("dig").unwrap())
        .args([
            "+short",
            "-p",
            &server.port().to_string(),
            &format!("@{}", server.ip()),
            name,
            kind,
        ])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The same where `dig` is there.
pub fn dig_or_nothing(server: SocketAddr, name: &str) -> Option<Vec<String>> {
    program("dig").is_some().then(|| dig(server, name))
}
