//! What a run acts on: the connections of its environment, and the lab where the environment is one. The only place
//! that knows both the lab and the providers' connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::frontend::tui::LabLine;
use crate::journal::Redactor;
use crate::lab::endpoints::{ACCOUNT, RECORD, REGION};
use crate::lab::{Endpoints, Fault, Lab, LabOptions, Measure, measure};
use crate::provider::aws::{AwsTarget, Identity};
use crate::provider::connection::{Connections, Headers, HttpTarget, SqliteTarget, Target};
use crate::provider::ssh::target::{Proof, SshTarget};
use crate::runbook::plan::{Connection, EnvironmentKind, Plan};

use super::databases;
use super::secrets::Secrets;
use super::trouble::Trouble;

/// Which lab a run uses.
#[derive(Debug, Clone, PartialEq)]
pub enum LabChoice {
    /// One in this process, its state in this folder.
    Own {
        folder: PathBuf,
        speed: f64,
        faults: Vec<Fault>,
    },
    /// The one that another process serves from this folder.
    Other { folder: PathBuf },
}

/// What a run acts on.
pub struct World {
    pub connections: Connections,
    pub redactor: Arc<Redactor>,
    /// How much faster than nominal the engine waits.
    pub speed: f64,
    lab: Option<LabHold>,
}

enum LabHold {
    Own(Lab),
    Other(Endpoints),
}

impl World {
    /// Opens the environment of `plan`.
    pub async fn open(plan: &Plan, lab: Option<LabChoice>) -> Result<Self, Trouble> {
        if plan.environment.kind == EnvironmentKind::Lab {
            let choice = lab.ok_or_else(|| Trouble::failed("an environment of kind lab has no lab"))?;
            return Self::in_lab(choice).await;
        }
        let secrets = Secrets::fetch(&plan.secrets)?;
        let mut connections = Connections::new();
        for (name, connection) in &plan.connections {
            connections = connections.with(name, target(name, connection, &secrets)?);
        }
        Ok(Self {
            connections,
            redactor: Arc::new(secrets.redactor()),
            speed: 1.0,
            lab: None,
        })
    }

    async fn in_lab(choice: LabChoice) -> Result<Self, Trouble> {
        let hold = match choice {
            LabChoice::Own { folder, speed, faults } => {
                let options = LabOptions {
                    speed,
                    faults,
                    writer: true,
                };
                let lab = Lab::start(&folder, options)
                    .await
                    .map_err(|error| Trouble::failed(format!("the lab could not be started: {error}")))?;
                LabHold::Own(lab)
            }
            LabChoice::Other { folder } => LabHold::Other(serving(&folder).await?),
        };
        let endpoints = match &hold {
            LabHold::Own(lab) => lab.endpoints(),
            LabHold::Other(endpoints) => endpoints,
        };
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(endpoints.aws.clone()), Identity::Fake);
        aws.dns_server = Some(endpoints.dns);
        let sqlite = |path: &PathBuf| Target::Sqlite(SqliteTarget { path: path.clone() });
        let app = HttpTarget {
            base: format!("http://{}:{}", RECORD.trim_end_matches('.'), endpoints.app_port),
            resolver: Some(endpoints.dns),
            ..HttpTarget::default()
        };
        let connections = Connections::new()
            .confined()
            .with("source", sqlite(&endpoints.source))
            .with("target", sqlite(&endpoints.target))
            .with("aws", Target::Aws(aws))
            .with("app", Target::Http(app));
        Ok(Self {
            connections,
            redactor: Arc::default(),
            speed: endpoints.speed,
            lab: Some(hold),
        })
    }

    /// The lab's addresses.
    pub fn endpoints(&self) -> Option<&Endpoints> {
        self.lab.as_ref().map(|hold| match hold {
            LabHold::Own(lab) => lab.endpoints(),
            LabHold::Other(endpoints) => endpoints,
        })
    }

    /// The lab as the cockpit's header shows it.
    pub fn lab_line(&self) -> Option<LabLine> {
        self.endpoints().map(|endpoints| LabLine {
            dns: endpoints.dns.to_string(),
            aws: endpoints.aws.clone(),
            speed: endpoints.speed,
            folder: endpoints.folder.display().to_string(),
        })
    }

    /// What the lab's workload saw; none outside a lab.
    pub fn measured(&self) -> Option<Result<Measure, String>> {
        self.endpoints()
            .map(|endpoints| measure(&endpoints.folder).map_err(|error| error.to_string()))
    }

    /// Ends a lab of this process; its folder stays.
    pub async fn close(self) {
        if let Some(LabHold::Own(lab)) = self.lab {
            lab.stop().await;
        }
    }
}

/// The endpoints of a lab that answers.
async fn serving(folder: &Path) -> Result<Endpoints, Trouble> {
    let hint = format!("serve it with: pointsman lab --dir {}", folder.display());
    let endpoints = Endpoints::read(folder).map_err(|error| Trouble::input(error.to_string()).hint(&hint))?;
    let at = endpoints.aws.trim_start_matches("http://").to_owned();
    tokio::net::TcpStream::connect(&at)
        .await
        .map_err(|error| Trouble::input(format!("the lab of {} does not answer: {error}", folder.display())).hint(hint))
        .map(|_alive| endpoints)
}

fn target(name: &str, connection: &Connection, secrets: &Secrets) -> Result<Target, Trouble> {
    let text = |key: &str| match connection.settings.get(key) {
        Some(Value::String(text)) => Some(secrets.reveal(text)),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let needed = |key: &str| {
        text(key).ok_or_else(|| {
            Trouble::input(format!("connection {name} has no {key}"))
                .hint(format!("write {key}: in connections.{name}"))
        })
    };
    let address = |key: &str| match text(key) {
        None => Ok(None),
        Some(text) => text
            .parse::<SocketAddr>()
            .map(Some)
            .map_err(|_bad| Trouble::input(format!("connection {name}: {key} \"{text}\" is no ADDRESS:PORT"))),
    };
    match connection.uses.as_str() {
        "sqlite" => {
            let path = PathBuf::from(needed("path")?);
            if !path.is_file() {
                return Err(Trouble::input(format!(
                    "connection {name}: {} is not a database file",
                    path.display()
                )));
            }
            Ok(Target::Sqlite(SqliteTarget { path }))
        }
        "postgres" | "mysql" | "sqlserver" => databases::server(name, connection, secrets).map(Target::Server),
        "aws" => {
            if text("role_arn").is_some() {
                return Err(Trouble::input(format!(
                    "not available yet: role_arn of connection {name}"
                )));
            }
            let mut aws = AwsTarget::new(
                &needed("region")?,
                &needed("account")?,
                text("endpoint"),
                Identity::Chain,
            );
            aws.profile = text("profile");
            aws.dns_server = address("dns_server")?;
            if let Some(patience) = databases::patience(name, text("timeout"), "a call")? {
                aws.patience = patience;
            }
            Ok(Target::Aws(aws))
        }
        "http" => Ok(Target::Http(HttpTarget {
            base: needed("url")?.trim_end_matches('/').to_owned(),
            resolver: address("resolver")?,
            headers: headers(name, connection, secrets, text("bearer"))?,
            ca: text("ca").map(PathBuf::from),
        })),
        "ssh" => {
            let port = text("port").unwrap_or_else(|| "22".to_owned());
            let proof = match (text("key"), text("password")) {
                (Some(file), _) => Proof::Key {
                    file: at_home(&file)?,
                    passphrase: text("passphrase"),
                },
                (None, Some(password)) => Proof::Password(password),
                (None, None) => Proof::Agent {
                    socket: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).ok_or_else(|| {
                        Trouble::input(format!(
                            "connection {name} asks for an agent, and SSH_AUTH_SOCK is not set"
                        ))
                        .hint("start one (ssh-agent, ssh-add), or write key: in the connection")
                    })?,
                },
            };
            Ok(Target::Ssh(SshTarget {
                host: needed("host")?,
                port: port.parse().map_err(|_bad| {
                    Trouble::input(format!(
                        "connection {name}: port \"{port}\" is no number from 1 to 65535"
                    ))
                })?,
                user: needed("user")?,
                known_hosts: at_home(text("known_hosts").as_deref().unwrap_or("~/.ssh/known_hosts"))?,
                proof,
            }))
        }
        other => Err(Trouble::input(format!(
            "not available yet: connections of kind {other} ({name})"
        ))),
    }
}

/// A path that may begin with `~/`.
pub(super) fn at_home(path: &str) -> Result<PathBuf, Trouble> {
    let Some(rest) = path.strip_prefix("~/") else {
        return Ok(PathBuf::from(path));
    };
    let home = std::env::var_os("HOME")
        .ok_or_else(|| Trouble::input(format!("{path}: HOME is not set")).hint("set it, or write the whole path"))?;
    Ok(PathBuf::from(home).join(rest))
}

/// What a connection sends with every request; `bearer` is a token for Authorization.
fn headers(name: &str, connection: &Connection, secrets: &Secrets, bearer: Option<String>) -> Result<Headers, Trouble> {
    let mut headers = BTreeMap::new();
    let given = connection.settings.get("headers").and_then(Value::as_object);
    for (header, value) in given.into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| {
            Trouble::input(format!("connection {name}: header {header} is no text")).hint("put it in quotes")
        })?;
        headers.insert(header.clone(), secrets.reveal(value));
    }
    if let Some(token) = bearer {
        headers.insert("authorization".to_owned(), format!("Bearer {token}"));
    }
    Ok(Headers::new(headers))
}
