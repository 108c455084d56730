//! `pointsman preflight`: looks at everything that a night depends on, and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::statvfs;
use serde_json::{Value, json};

use crate::engine::executor::Probes;
use crate::projection::escape::{fit, visible};
use crate::provider::connection::Connections;
use crate::provider::preflight::{Finding, Verdict, Wish, look};
use crate::runbook::plan::{EnvironmentKind, Plan, Rollback};

use super::args::{PreflightArgs, TextOrJson};
use super::imports::Imported;
use super::out::Out;
use super::reading::Source;
use super::run::runtime;
use super::store::Store;
use super::trouble::Trouble;
use super::world::{LabChoice, World};

/// Below this the journal may not last the night, in MiB.
const TIGHT: u64 = 1024;
/// Below this it will not.
const FULL: u64 = 64;

/// Looks, and tells in a table what was seen.
pub fn perform(args: &PreflightArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let mut source = Source::read(&args.runbook)?;
    source.imports = Imported::read(&args.import, store)?.runs;
    let plan = source.plan(&args.env, out)?;
    let runtime = runtime()?;
    let mut findings = vec![journal(&store.path("runs"))];
    findings.extend(runtime.block_on(peers(&plan, args))?);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (red, amber, green) = (count(Verdict::Red), count(Verdict::Amber), count(Verdict::Green));
    match args.format {
        TextOrJson::Json => {
            let body = json!({ "red": red, "amber": amber, "green": green, "findings": findings });
            let text = serde_json::to_string_pretty(&body)
                .map_err(|error| Trouble::failed(format!("the findings cannot be written: {error}")))?;
            out.line(&text);
        }
        TextOrJson::Text => {
            for finding in &findings {
                tell(finding, out);
            }
            out.line(&format!("{red} red, {amber} amber, {green} green; nothing was changed"));
        }
    }
    Ok(u8::from(red > 0))
}

fn tell(finding: &Finding, out: Out) {
    let (sign, word) = match finding.verdict {
        Verdict::Green => ("✔", "green"),
        Verdict::Amber => ("!", "AMBER"),
        Verdict::Red => ("✘", "RED"),
    };
    let about = fit(&visible(&finding.about), 24);
    let probe = fit(&visible(&finding.probe), 18);
    out.line(&format!("{sign} {word:<5}  {about} {probe} {}", visible(&finding.seen)));
    if let Some(advice) = &finding.advice {
        out.line(&format!("         → {}", visible(advice)));
    }
}

async fn peers(plan: &Plan, args: &PreflightArgs) -> Result<Vec<Finding>, Trouble> {
    let own = tempfolder()?;
    let lab = match (plan.environment.kind, &args.lab) {
        (EnvironmentKind::Lab, Some(folder)) => Some(LabChoice::Other { folder: folder.clone() }),
        (EnvironmentKind::Lab, None) => Some(LabChoice::Own {
            folder: own.clone(),
            speed: 1.0,
            faults: Vec::new(),
        }),
        (EnvironmentKind::Rehearsal | EnvironmentKind::Production, _) => None,
    };
    let opened = World::open(plan, lab).await;
    let findings = match opened {
        Ok(world) => {
            let mut findings = look(&wishes(plan), &world.connections).await;
            for finding in &mut findings {
                finding.seen = world.redactor.redact(&finding.seen);
            }
            world.close().await;
            Ok(findings)
        }
        Err(trouble) => Ok(vec![Finding::red(
            "environment",
            "opens",
            trouble.message,
            trouble
                .hint
                .as_deref()
                .unwrap_or("see the connections and secrets of the runbook"),
        )]),
    };
    // A lab of this process is nobody's any more; a folder that stays is in nobody's way.
    let _left = fs::remove_dir_all(own);
    findings
}

/// What the actions of a plan ask for: of its steps, their checks and their ways back, and of reads within them.
fn wishes(plan: &Plan) -> Vec<Wish<'_>> {
    let mut wishes = Vec::new();
    for step in &plan.steps {
        let back = match &step.rollback {
            Rollback::Action { action, .. } | Rollback::Abandon { action, .. } | Rollback::AtClose { action, .. } => {
                Some(action)
            }
            Rollback::Nothing | Rollback::NotNeeded { .. } | Rollback::Irreversible { .. } => None,
        };
        let own = std::iter::once(&step.action).chain(back).map(|action| (action, false));
        // What a check looks at may be made by a step before it.
        let checks = step.before.iter().chain(&step.after).map(|action| (action, true));
        for (action, later) in own.chain(checks) {
            wishes.push(Wish {
                step: &step.id,
                uses: &action.uses,
                on: action.on.clone(),
                with: &action.with,
                later,
            });
            wishes.extend(within(&step.id, &action.with));
        }
    }
    wishes
}

/// Reads that a parameter of an action holds (`analysis:`, `clients:`).
fn within<'a>(step: &'a str, with: &'a Value) -> Vec<Wish<'a>> {
    let lists = with.as_object().into_iter().flat_map(|with| with.values());
    let reads = lists.filter_map(Value::as_array).flatten();
    let wish = |read: &'a Value| {
        let on = read.get("on")?.as_array()?.iter();
        Some(Wish {
            step,
            uses: read.get("uses")?.as_str()?,
            on: on.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            with: read.get("with")?,
            later: true,
        })
    };
    reads.filter_map(wish).collect()
}

/// What a run looks at before its first change.
pub fn probes(connections: Connections, runs: PathBuf) -> Arc<Probes> {
    Arc::new(move |plan| {
        let (connections, runs) = (connections.clone(), runs.clone());
        Box::pin(async move {
            let mut findings = vec![journal(&runs)];
            findings.extend(look(&wishes(&plan), &connections).await);
            findings
        })
    })
}

/// A folder for a lab that is only looked at.
fn tempfolder() -> Result<std::path::PathBuf, Trouble> {
    let folder = std::env::temp_dir().join(format!("pointsman-preflight-{}", std::process::id()));
    fs::create_dir(&folder).map_err(|error| Trouble::failed(format!("{}: {error}", folder.display())))?;
    Ok(folder)
}

/// Whether runs can be kept, and for how long.
fn journal(runs: &Path) -> Finding {
    let (about, probe) = ("state folder", "space");
    let advice = "name another folder with --state-dir, or make room there";
    let there = runs.ancestors().find(|folder| folder.is_dir());
    let Some(there) = there else {
        return Finding::red(about, probe, format!("{} cannot be made", runs.display()), advice);
    };
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        return Finding::red(about, probe, format!("{} cannot be written", there.display()), advice);
    }
    match statvfs(there) {
        Err(error) => Finding::amber(about, probe, format!("{}: {error}", there.display()), advice),
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize) / (1024 * 1024);
            let seen = format!("{free} MiB free at {}", there.display());
            match free {
                ..FULL => Finding::red(about, probe, seen, advice),
                FULL..TIGHT => Finding::amber(about, probe, seen, advice),
                _ => Finding::green(about, probe, seen),
            }
        }
    }
}
