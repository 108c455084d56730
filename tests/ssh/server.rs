//! A real OpenSSH server on loopback, started and stopped by the test, with keys and a state folder of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pointsman::provider::ssh::target::{Proof, SshTarget};

use crate::support::wait_for;

/// A folder with everything that a server and its guests need.
pub struct Host {
    folder: tempfile::TempDir,
    pub port: u16,
    server: Option<Child>,
}

impl Host {
    /// A host that serves and is known.
    pub fn new() -> Self {
        let mut host = Self::down();
        host.serve();
        host.know(&["host_ed25519"]);
        host
    }

    /// A host that has its keys and does not serve yet.
    pub fn down() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = Self {
            folder,
            port,
            server: None,
        };
        host.make_key("ed25519", "host_ed25519", "");
        host.make_key("rsa", "host_rsa", "");
        host.make_key("ed25519", "guest", "");
        fs::copy(host.path("guest.pub"), host.path("authorized_keys")).unwrap();
        for folder in ["state", "bin", "units", "runtime"] {
            fs::create_dir(host.path(folder)).unwrap();
        }
        fs::set_permissions(host.path("runtime"), fs::Permissions::from_mode(0o700)).unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn make_key(&self, kind: &str, name: &str, passphrase: &str) {
        // Short ones are made sooner, and guard nothing.
        let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
        let made = Command::new("ssh-keygen")
            .args(bits)
            .args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"])
            .arg(self.path(name))
            .status()
            .unwrap();
        assert!(made.success());
    }

    /// The fingerprint as ssh-keygen prints it.
    pub fn fingerprint(&self, key: &str) -> String {
        let shown = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path(key))
            .output()
            .unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    /// The line of `known_hosts` for one of the host's keys.
    pub fn line(&self, key: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let mut fields = public.split(' ');
        let (kind, key) = (fields.next().unwrap(), fields.next().unwrap());
        format!("[127.0.0.1]:{} {kind} {key}", self.port)
    }

    /// Makes the host known by these of its keys.
    pub fn know(&self, keys: &[&str]) {
        let lines: Vec<String> = keys.iter().map(|key| self.line(key)).collect();
        self.write_known(&lines.join("\n"));
    }

    pub fn write_known(&self, text: &str) {
        fs::write(self.path("known_hosts"), format!("# a comment\n\n{text}\n")).unwrap();
    }

    pub fn serve(&mut self) {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
            .into_iter()
            .find(|program| Path::new(program).exists())
            .unwrap();
        if rustix::process::geteuid().is_root() {
            // As root it wants this folder, which a service would have made.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let told = |name: &str| self.path(name).display().to_string();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", told("bin"));
        let options = [
            format!("Port={}", self.port),
            "ListenAddress=127.0.0.1".to_owned(),
            format!("HostKey={}", told("host_ed25519")),
            format!("HostKey={}", told("host_rsa")),
            format!("AuthorizedKeysFile={}", told("authorized_keys")),
            format!(
                "SetEnv=PATH={path} XDG_STATE_HOME={} UNITS={} XDG_RUNTIME_DIR={}",
                told("state"),
                told("units"),
                told("runtime")
            ),
            "PidFile=none".to_owned(),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PermitRootLogin=yes".to_owned(),
            "MaxStartups=100".to_owned(),
        ];
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f", "/dev/null"]);
        for option in options {
            command.arg("-o").arg(option);
        }
        let log = fs::File::create(self.path("sshd.log")).unwrap();
        self.server = Some(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let port = self.port;
        wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// The server's processes for connections that are open.
    pub fn connections(&self) -> Vec<u32> {
        let mut open = vec![self.server.as_ref().unwrap().id()];
        let mut found = Vec::new();
        while let Some(parent) = open.pop() {
            let children: Vec<u32> = processes()
                .into_iter()
                .filter(|process| process.parent == parent && process.name == "sshd")
                .map(|process| process.pid)
                .collect();
            open.extend(&children);
            found.extend(children);
        }
        found
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for pid in self.connections() {
            kill(pid, rustix::process::Signal::KILL);
        }
    }

    /// Ends the server and every connection.
    pub fn stop(&mut self) {
        self.cut();
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub fn target(&self) -> SshTarget {
        SshTarget {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: user(),
            known_hosts: self.path("known_hosts"),
            proof: Proof::Key {
                file: self.path("guest"),
                passphrase: None,
            },
        }
    }

    /// A program on the host's own path.
    pub fn install(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where the host notes the attempt with this key.
    pub fn notes(&self, key: &str) -> PathBuf {
        self.path("state").join("pointsman").join(key)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
        // What a test that failed left behind, known by the folder that it names.
        let folder = self.folder.path().display().to_string();
        for process in processes() {
            if process.holds(&folder) {
                kill(process.pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The account that runs the tests.
pub fn user() -> String {
    let named = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(named.stdout).unwrap().trim().to_owned()
}

pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub group: u32,
    pub name: String,
}

impl Process {
    /// Whether its command line holds this.
    pub fn holds(&self, words: &str) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(words)
    }
}

/// Every process that has not ended.
pub fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        // One that is just going has no group any more.
        if let (false, Ok(parent), Ok(group)) = (fields[0] == "Z", fields[1].parse(), fields[2].parse()) {
            found.push(Process {
                pid,
                parent,
                group,
                name: name.split_once('(').unwrap().1.to_owned(),
            });
        }
    }
    found
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself.
    let _gone = rustix::process::kill_process(pid, signal);
}
