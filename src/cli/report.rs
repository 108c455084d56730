//! `pointsman report`: a run told from its journal.

use std::path::Path;

use crate::engine::clock::Clock;
use crate::journal::disk::{Real, write_new};
use crate::journal::pack::Blob;
use crate::journal::reader::{read_blob, read_run};
use crate::journal::verify::{Require, verify};
use crate::report::{Entry, Evidence, Shown, Source, markdown};

use super::args::{ReportArgs, ReportFormat};
use super::genesis::Genesis;
use super::out::Out;
use super::plans::told;
use super::session::zone;
use super::store::Store;
use super::trouble::Trouble;

/// Writes a report.
pub fn perform(args: &ReportArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    match args.format {
        ReportFormat::Md => {}
        ReportFormat::Html | ReportFormat::Json | ReportFormat::Csv => {
            return Err(Trouble::input("not available yet: reports in html, json and csv").hint("use --format md"));
        }
    }
    let folder = store.find(&args.run)?;
    let chain = read_run(&folder.path)
        .map_err(|error| Trouble::failed(format!("the journal of {} cannot be read: {error}", folder.id)))?;
    let genesis = chain
        .records
        .first()
        .and_then(Genesis::read)
        .ok_or_else(|| Trouble::input(format!("run {} never began: it has no first record", folder.id)))?;
    let told = told(&folder, &genesis, &chain.records)?;
    let plan = &told.plan;
    let verdict = verify(&folder.path, Require::Chain);
    let entries: Vec<Entry> = told
        .updates
        .iter()
        .filter_map(|update| {
            let record = chain.records.iter().find(|record| record.seq == update.seq)?;
            let evidence = record.blobs.iter().map(|about| Evidence {
                digest: about.c.clone(),
                shown: match read_blob(&folder.path, about) {
                    Blob::Intact(bytes) => Shown::Text(String::from_utf8_lossy(&bytes).into_owned()),
                    Blob::Erased => Shown::Erased,
                    Blob::Missing => Shown::Missing,
                    Blob::Altered => Shown::Altered,
                },
            });
            Some(Entry {
                seq: update.seq,
                at: update.at,
                actor: record.actor.id.clone(),
                via: format!("{} on {}", record.actor.via, record.actor.host),
                event: update.event.clone(),
                evidence: evidence.collect(),
            })
        })
        .collect();
    let text = markdown::render(&Source {
        run: &folder.id,
        plan,
        entries: &entries,
        state: &told.state,
        verdict: &verdict.lines(),
        zone: zone(plan),
        now: Clock::new().now(),
    });
    match &args.output {
        None => out.text(&text),
        Some(path) => save(path, &text)?,
    }
    Ok(0)
}

fn save(path: &Path, text: &str) -> Result<(), Trouble> {
    write_new(&Real, path, text.as_bytes()).map_err(|error| {
        Trouble::input(format!("{}: {error}", path.display())).hint("a report never overwrites a file")
    })
}
