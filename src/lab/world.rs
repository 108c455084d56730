//! The lab as a whole: opens its folder, starts its servers, ends them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cloud::Cloud;
use super::cloudwatch::Hits;
use super::endpoints::Endpoints;
use super::fault::Fault;
use super::gateway::Gateway;
use super::replicator::Tables;
use super::requests::Requests;
use super::workload::Workload;
use super::{app, dns, gateway, seed};

/// Why the lab cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("the lab's network: {0}")]
    Io(#[from] io::Error),
    #[error("the lab's database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the lab's state: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the lab: {0}")]
    State(String),
}

impl LabError {
    /// A failure about a file.
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}

/// How a lab is started.
#[derive(Debug, Clone, PartialEq)]
pub struct LabOptions {
    /// How much faster than nominal; 10 by default.
    pub speed: f64,
    pub faults: Vec<Fault>,
    /// Whether the workload writes.
    pub writer: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            speed: 10.0,
            faults: Vec::new(),
            writer: true,
        }
    }
}

/// A running lab.
pub struct Lab {
    endpoints: Endpoints,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Lab {
    /// Opens a folder, making it where it is missing, and starts the servers on the ports that it had before.
    pub async fn start(folder: &Path, options: LabOptions) -> Result<Self, LabError> {
        std::fs::create_dir_all(folder).map_err(|source| LabError::io(folder, source))?;
        let folder = folder.canonicalize().map_err(|source| LabError::io(folder, source))?;
        let before = Endpoints::read(&folder).ok();
        let tables = Tables {
            source: folder.join("source.db"),
            target: folder.join("target.db"),
        };
        seed::make(&tables.source, true)?;
        seed::make(&tables.target, false)?;
        let cloud = Arc::new(Cloud::open(&folder, options.speed, &options.faults)?);
        let wanted = before.as_ref().map_or((0, 0, 0), |old| {
            let aws = old
                .aws
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .unwrap_or(0);
            (aws, old.dns.port(), old.app_port)
        });
        let aws = match TcpListener::bind(("127.0.0.1", wanted.0)).await {
            Ok(listener) => listener,
            Err(_taken) => TcpListener::bind(("127.0.0.1", 0)).await?,
        };
        let (udp, tcp, dns_at) = dns::bind(wanted.1).await?;
        let (old, new, app_port) = app::bind(wanted.2).await?;
        let endpoints = Endpoints {
            aws: format!("http://{}", aws.local_addr()?),
            dns: dns_at,
            app_port,
            source: tables.source.clone(),
            target: tables.target.clone(),
            folder: folder.clone(),
            speed: options.speed,
            pid: std::process::id(),
        };
        endpoints.write()?;
        let stop = CancellationToken::new();
        let hits = Arc::new(Hits::default());
        let gate = Arc::new(Gateway {
            cloud: cloud.clone(),
            requests: Requests::open(&folder)?,
            tables: tables.clone(),
            folder: folder.clone(),
            hits: hits.clone(),
        });
        let mut server = dns::serve(cloud.clone(), udp, tcp);
        let ending = stop.clone();
        let mut tasks = vec![
            tokio::spawn(gateway::serve(gate, aws, stop.clone())),
            tokio::spawn(app::serve((cloud.clone(), hits.clone()), "old", old, stop.clone())),
            tokio::spawn(app::serve((cloud.clone(), hits), "new", new, stop.clone())),
            tokio::spawn(tables.run(cloud, stop.clone())),
            tokio::spawn(async move {
                ending.cancelled().await;
                if let Err(error) = server.shutdown_gracefully().await {
                    tracing::debug!(%error, "the lab's DNS server ended");
                }
            }),
        ];
        if options.writer {
            tasks.push(tokio::spawn(Workload::new(endpoints.clone()).run(stop.clone())));
        }
        Ok(Self { endpoints, stop, tasks })
    }

    /// Where the servers are.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Ends the servers; the folder stays.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A server that broke has ended.
            let _ended = tokio::time::timeout(std::time::Duration::from_secs(2), task).await;
        }
    }
}
