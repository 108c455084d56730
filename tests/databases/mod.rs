//! Database servers as children of the test, on loopback, each with a folder and a random port of its own: PostgreSQL and
//! MariaDB. A shell holds each of them and ends it when the test's end of a pipe closes, so nothing is left whatever
//! becomes of the test. Tests of one process share a server and have databases of their own on it.
//!
//! Where a program is missing, a test fails under `tests/run` and in CI, and says elsewhere that it was skipped.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use pointsman::provider::sql::server::{Engine, Protection, ServerTarget};

/// The owner of every server's data, and the password of each.
pub const USER: &str = "pm";
pub const PASSWORD: &str = "correct horse";

type Shared = Mutex<Weak<Server>>;
static POSTGRES: Shared = Mutex::new(Weak::new());
static MARIADB: Shared = Mutex::new(Weak::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running server.
pub struct Server {
    shell: Child,
    pub engine: Engine,
    pub port: u16,
    /// Data and logs; `log` is what the server says, `statements` what it was asked where that was asked for.
    pub folder: tempfile::TempDir,
}

/// Where a program is.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.extend(path.split(':').chain(["/usr/sbin", "/sbin"]).map(PathBuf::from));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    folders.push(target.join("mariadb-plugins"));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn installed(name: &str, package: &str) -> bool {
    if program(name).is_some() {
        return true;
    }
    let needed = ["CI", "POINTSMAN_PEERS"]
        .map(std::env::var_os)
        .iter()
        .any(Option::is_some);
    let words = format!("{name} is not installed (Debian package {package}); ./tests/run installs it");
    assert!(!needed, "{words}");
    // Not by a macro: the harness would keep it to itself.
    let mut out = std::io::stderr();
    writeln!(out, "SKIPPED: {words}").unwrap();
    false
}

/// A plugin of MariaDB, in a folder that its servers can read; nothing where it cannot be had and need not be.
pub fn plugin(name: &str) -> Option<tempfile::TempDir> {
    let file = format!("{name}.so");
    installed(&file, "mariadb-server").then(|| {
        let folder = folder();
        fs::copy(program(&file).unwrap(), folder.path().join(&file)).unwrap();
        readable(&folder.path().join(&file));
        folder
    })
}

/// PostgreSQL, shared; nothing where it cannot be had and need not be.
pub fn postgres() -> Option<Arc<Server>> {
    shared(&POSTGRES, || Server::postgres(&[]))
}

/// MariaDB, shared; nothing where it cannot be had and need not be.
pub fn mariadb() -> Option<Arc<Server>> {
    shared(&MARIADB, || Server::mariadb(&[]))
}

/// Those that can be had.
pub fn both() -> Vec<Arc<Server>> {
    [postgres(), mariadb()].into_iter().flatten().collect()
}

fn shared(cell: &Shared, start: impl Fn() -> Option<Server>) -> Option<Arc<Server>> {
    let mut running = cell.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = running.upgrade() {
        return Some(server);
    }
    let server = Arc::new(start()?);
    *running = Arc::downgrade(&server);
    Some(server)
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A command as somebody who is not root: the servers refuse root, or should.
fn as_nobody(path: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(path);
    command
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
    }
    folder
}

/// Gives a file to the servers, and to nobody else.
pub fn readable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
}

/// Runs what prepares a server's data.
fn prepared(command: &mut Command, folder: &Path) {
    let done = command
        .env("HOME", folder)
        // A MariaDB that starts takes away what others have in a folder that they share.
        .env("TMPDIR", folder)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Server {
    /// A PostgreSQL of its own, with further settings `name=value`.
    pub fn postgres(settings: &[&str]) -> Option<Self> {
        Self::postgres_that(&["-A", "trust"], settings)
    }

    /// A PostgreSQL of its own that asks for the password.
    pub fn postgres_asking() -> Option<Self> {
        let known = tempfile::NamedTempFile::new().unwrap();
        fs::write(known.path(), PASSWORD).unwrap();
        readable(known.path());
        let file = format!("--pwfile={}", known.path().display());
        Self::postgres_that(&["-A", "scram-sha-256", &file], &[])
    }

    /// A PostgreSQL that follows another one; what it takes with it is that one's data.
    pub fn standby_of(primary: &Self) -> Self {
        let folder = folder();
        let mut copy = as_nobody(&program("pg_basebackup").unwrap());
        copy.arg("-D")
            .arg(folder.path().join("data"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                USER,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
            ])
            .args(["-p", &primary.port.to_string()]);
        prepared(&mut copy, folder.path());
        Self::serving(folder, &[])
    }

    fn postgres_that(asks: &[&str], settings: &[&str]) -> Option<Self> {
        installed("postgres", "postgresql").then(|| {
            let folder = folder();
            let data = folder.path().join("data");
            let mut initdb = as_nobody(&program("initdb").unwrap());
            initdb
                .arg("-D")
                .arg(&data)
                .args(["-U", USER, "-E", "UTF8", "--locale=C.UTF-8"])
                .args(asks);
            initdb.arg("--no-sync");
            prepared(&mut initdb, folder.path());
            Self::serving(folder, settings)
        })
    }

    /// Serves the data of a folder.
    fn serving(folder: tempfile::TempDir, settings: &[&str]) -> Self {
        let words = [
            "fsync=off",
            "full_page_writes=off",
            "max_connections=60",
            "unix_socket_directories=",
        ];
        let data = folder.path().join("data");
        let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
        for setting in words.iter().chain(settings) {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let port = |port: u16| {
            vec![
                "-h".to_owned(),
                "127.0.0.1".to_owned(),
                "-p".to_owned(),
                port.to_string(),
            ]
        };
        Self::start(Engine::Postgres, "postgres", folder, &arguments, &port, "INT")
    }

    /// A MariaDB of its own, with further options.
    pub fn mariadb(options: &[&str]) -> Option<Self> {
        installed("mariadbd", "mariadb-server-core").then(|| {
            let folder = folder();
            let data = folder.path().join("data");
            let mut install = as_nobody(&program("mariadb-install-db").unwrap());
            install.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]);
            install.arg(format!("--datadir={}", data.display()));
            prepared(&mut install, folder.path());
            let first = folder.path().join("first.sql");
            let grant = format!(
                "create user {USER}@'127.0.0.1' identified by '{PASSWORD}';\n\
                 grant all on *.* to {USER}@'127.0.0.1' with grant option;\n"
            );
            fs::write(&first, grant).unwrap();
            fs::set_permissions(&first, fs::Permissions::from_mode(0o644)).unwrap();
            let mut arguments = vec![
                "--no-defaults".to_owned(),
                format!("--datadir={}", data.display()),
                format!("--socket={}", folder.path().join("socket").display()),
                format!("--pid-file={}", folder.path().join("pid").display()),
                format!("--init-file={}", first.display()),
                "--bind-address=127.0.0.1".to_owned(),
                "--innodb-flush-log-at-trx-commit=0".to_owned(),
                "--character-set-server=utf8mb4".to_owned(),
                "--max-connections=60".to_owned(),
                "--skip-name-resolve".to_owned(),
            ];
            arguments.extend(options.iter().map(|option| (*option).to_owned()));
            let port = |port: u16| vec![format!("--port={port}")];
            Self::start(Engine::Mysql, "mariadbd", folder, &arguments, &port, "KILL")
        })
    }

    fn start(
        engine: Engine,
        name: &str,
        folder: tempfile::TempDir,
        arguments: &[String],
        port_arguments: &dyn Fn(u16) -> Vec<String>,
        signal: &str,
    ) -> Self {
        let path = program(name).unwrap();
        let log = folder.path().join("log");
        // A free port may be taken before the server has it.
        for _ in 0..3 {
            let port = free_port();
            let held = as_nobody(&path);
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!(r#""$@" & read -r _; kill -{signal} $!; wait $!"#), "sh"])
                .arg(held.get_program())
                .args(held.get_args())
                .args(arguments)
                .args(port_arguments(port))
                .env("HOME", folder.path())
                .env("TMPDIR", folder.path())
                .env("LC_ALL", "C.UTF-8")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(fs::File::create(&log).unwrap());
            let mut shell = command.spawn().unwrap();
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            let deadline = Instant::now() + Duration::from_secs(60);
            while Instant::now() < deadline && shell.try_wait().unwrap().is_none() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let ready = [
                    "ready to accept connections",
                    "ready to accept read-only connections",
                    "ready for connections",
                ];
                if ready.iter().any(|words| said.contains(words)) && TcpStream::connect(at).is_ok() {
                    return Self {
                        shell,
                        engine,
                        port,
                        folder,
                    };
                }
                if said.contains("Address already in use") {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(shell.stdin.take());
            let _ended = shell.wait();
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        panic!("{name} does not start: {said}");
    }

    /// Its address for a database of that name.
    pub fn target(&self, database: &str) -> ServerTarget {
        ServerTarget {
            engine: self.engine,
            host: "127.0.0.1".to_owned(),
            port: self.port,
            database: database.to_owned(),
            user: USER.to_owned(),
            password: Some(PASSWORD.to_owned()),
            token: None,
            protection: Protection::Off,
            patience: Duration::from_secs(60),
        }
    }

    /// A new database on it, empty.
    pub async fn database(&self) -> Database {
        let name = format!("d{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = match self.engine {
            Engine::Postgres => "postgres",
            Engine::Mysql => "mysql",
            Engine::Sqlserver => "master",
        };
        let admin = Database::open(self.target(admin)).await;
        admin.run(&format!("create database {name}")).await;
        Database::open(self.target(&name)).await
    }

    /// The process that holds it, and everything of it.
    pub fn process(&self) -> u32 {
        self.shell.id()
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

/// A database of one test, with a session of its owner.
pub struct Database {
    pub target: ServerTarget,
    session: Owner,
}

enum Owner {
    Postgres(tokio_postgres::Client),
    Mysql(tokio::sync::Mutex<mysql_async::Conn>),
}

impl Database {
    /// A session of its own.
    pub async fn open(target: ServerTarget) -> Self {
        let session = match target.engine {
            Engine::Postgres => {
                let words = format!(
                    "host={} port={} user={} dbname={}",
                    target.host, target.port, target.user, target.database
                );
                let (client, connection) = tokio_postgres::connect(&words, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                Owner::Postgres(client)
            }
            Engine::Mysql => {
                let options = mysql_async::OptsBuilder::default()
                    .ip_or_hostname(&target.host)
                    .tcp_port(target.port)
                    .db_name(Some(&target.database))
                    .user(Some(&target.user))
                    .pass(target.password.as_deref())
                    .prefer_socket(false);
                let mut session = mysql_async::Conn::new(options).await.unwrap();
                session
                    .query_drop("set names utf8mb4, time_zone = '+00:00'")
                    .await
                    .unwrap();
                Owner::Mysql(session.into())
            }
            Engine::Sqlserver => panic!("no server of this kind is started here"),
        };
        Self { target, session }
    }

    /// Executes statements.
    pub async fn run(&self, sql: &str) {
        match &self.session {
            Owner::Postgres(client) => client
                .batch_execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}")),
            Owner::Mysql(session) => session
                .lock()
                .await
                .query_drop(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}")),
        }
    }

    /// Executes a statement that may be refused; whether it was not.
    pub async fn attempt(&self, sql: &str) -> bool {
        match &self.session {
            Owner::Postgres(client) => client.batch_execute(sql).await.is_ok(),
            Owner::Mysql(session) => session.lock().await.query_drop(sql).await.is_ok(),
        }
    }

    /// The first cell of the first row, as a text.
    pub async fn text(&self, sql: &str) -> Option<String> {
        match &self.session {
            Owner::Postgres(client) => client
                .simple_query(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
                .into_iter()
                .find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                    _ => None,
                })
                .flatten(),
            Owner::Mysql(session) => session
                .lock()
                .await
                .query_first::<Option<String>, _>(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"))
                .flatten(),
        }
    }

    /// Its address as the command line takes it.
    pub fn url(&self) -> String {
        url(&self.target)
    }
}

/// A database's address as the command line takes it.
pub fn url(target: &ServerTarget) -> String {
    format!(
        "{}://{}@{}:{}/{}?tls=off",
        target.engine.word(),
        target.user,
        target.host,
        target.port,
        target.database
    )
}
