//! `pointsman lab`: the embedded lab alone.

use tokio::signal::unix::{SignalKind, signal};

use crate::engine::clock::Clock;
use crate::journal::RunLock;
use crate::lab::endpoints::{ACCOUNT, NEW, OLD, RECORD, REGION, ZONE_ID};
use crate::lab::{Lab, LabOptions};

use super::args::LabArgs;
use super::out::Out;
use super::run::runtime;
use super::session::holder;
use super::store::{Store, quoted};
use super::trouble::Trouble;

/// Serves the lab until a signal ends it.
pub fn perform(args: LabArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let folder = args.dir.unwrap_or_else(|| store.path("lab"));
    std::fs::create_dir_all(&folder)
        .map_err(|error| Trouble::input(format!("the lab's folder {}: {error}", folder.display())))?;
    let _lock = RunLock::acquire(&folder, &holder(&Clock::new()))
        .map_err(|error| Trouble::input(format!("the lab in {}: {error}", folder.display())))?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let failed = |error: String| Trouble::failed(format!("the lab could not be started: {error}"));
        let mut int = signal(SignalKind::interrupt()).map_err(|error| failed(error.to_string()))?;
        let mut term = signal(SignalKind::terminate()).map_err(|error| failed(error.to_string()))?;
        let mut hup = signal(SignalKind::hangup()).map_err(|error| failed(error.to_string()))?;
        let options = LabOptions {
            speed: args.speed,
            faults: args.fault,
            writer: true,
        };
        let lab = Lab::start(&folder, options)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let at = lab.endpoints();
        let shown = at.folder.display().to_string();
        out.text(&format!(
            "the lab serves from {shown} at {} times nominal speed\n\
             aws     {} (account {ACCOUNT}, {REGION}, zone {ZONE_ID})\n\
             dns     {}   dig @{} -p {} {RECORD}\n\
             app     http://{OLD}:{port} (old), http://{NEW}:{port} (new)\n\
             source  {}\n\
             target  {}\n\
             use it  pointsman run RUNBOOK --env lab --lab {}\n",
            at.speed,
            at.aws,
            at.dns,
            at.dns.ip(),
            at.dns.port(),
            at.source.display(),
            at.target.display(),
            quoted(&shown),
            port = at.app_port,
        ));
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        lab.stop().await;
        Ok(0)
    })
}
