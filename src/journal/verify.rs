//! What a stranger concludes from a journal, with an exit code that says which kind of trouble it is. Reads only.

use std::fs;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::chain::{Chain, Fault, Segment, read};
use super::evidence::{get, unnamed};
use super::pack::{Blob, BlobRef};
use super::reader::segments;
use super::record::Record;
use super::rules::{Findings, judge};

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// Intact, closed, and witnessed by keys from outside.
    Witness,
    /// Intact and closed.
    Chain,
}

/// The conclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// 0 intact and fully witnessed (or closed, with `--require chain`) · 1 intact, but not that · 2 usage or a newer
    /// version · 3 torn tail unsealed · 4 tampered · 6 an approval is invalid or missing · 7 unresolved effect · 8 I/O.
    pub code: u8,
    pub conclusion: String,
    pub run: Option<String>,
    pub records: usize,
    pub bytes: u64,
    pub head_seq: u64,
    pub head_h: Option<String>,
    pub closed: Option<String>,
    pub witnessed_up_to: u64,
    pub sealed: Vec<String>,
    pub blobs: usize,
    pub erased: usize,
    pub break_glass: usize,
    pub votes: std::collections::BTreeMap<String, u64>,
    pub findings: Vec<String>,
    pub remarks: Vec<String>,
}

impl Verdict {
    fn refusal(code: u8, conclusion: String) -> Self {
        Self {
            code,
            conclusion,
            run: None,
            records: 0,
            bytes: 0,
            head_seq: 0,
            head_h: None,
            closed: None,
            witnessed_up_to: 0,
            sealed: Vec::new(),
            blobs: 0,
            erased: 0,
            break_glass: 0,
            votes: std::collections::BTreeMap::new(),
            findings: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The verdict for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} (exit {})", self.conclusion, self.code)];
        if let Some(run) = &self.run {
            lines.push(format!("run         {run}"));
        }
        lines.push(format!(
            "records     {} ({} bytes), {} blobs",
            self.records, self.bytes, self.blobs
        ));
        if let Some(head) = &self.head_h {
            lines.push(format!("head        {} {head}", self.head_seq));
        }
        lines.push(format!(
            "closed      {}",
            self.closed.as_deref().unwrap_or("no: the run is open or was cut off")
        ));
        lines.push(format!(
            "witnessed   up to {}; unwitnessed tail: {} records",
            if self.witnessed_up_to == 0 {
                "none".to_owned()
            } else {
                self.witnessed_up_to.to_string()
            },
            self.head_seq.saturating_sub(self.witnessed_up_to)
        ));
        let votes: Vec<String> = self
            .votes
            .iter()
            .map(|(assurance, count)| format!("{count} {assurance}"))
            .collect();
        lines.push(format!(
            "approvals   {}",
            if votes.is_empty() {
                "none".to_owned()
            } else {
                votes.join(", ")
            }
        ));
        lines.push(format!(
            "break-glass {}   erased {}   sealed {}",
            self.break_glass,
            self.erased,
            self.sealed.len()
        ));
        lines.extend(self.sealed.iter().map(|sealed| format!("sealed      {sealed}")));
        lines.extend(self.findings.iter().map(|finding| format!("FAULT       {finding}")));
        lines.extend(self.remarks.iter().map(|remark| format!("remark      {remark}")));
        lines
    }
}

/// Verifies a run's folder, or one segment's file.
pub fn verify(path: &Path, require: Require) -> Verdict {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Verdict::refusal(2, format!("{}: there is no such run or file", path.display()));
        }
        Err(error) => return Verdict::refusal(8, format!("{}: {error}", path.display())),
    };
    if meta.is_dir() {
        match segments(path) {
            Ok(parts) => conclude(&parts, Some(path), require),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Verdict::refusal(
                2,
                format!("{}: this is no run's folder (it has no journal)", path.display()),
            ),
            Err(error) => Verdict::refusal(8, format!("{}: {error}", path.display())),
        }
    } else if meta.is_file() {
        match fs::read(path) {
            Ok(bytes) => conclude(
                &[Segment {
                    name: "000001.jsonl".to_owned(),
                    bytes,
                }],
                None,
                require,
            ),
            Err(error) => Verdict::refusal(8, format!("{}: {error}", path.display())),
        }
    } else {
        Verdict::refusal(
            2,
            format!("{}: neither a run's folder nor a journal file", path.display()),
        )
    }
}

fn conclude(parts: &[Segment], run: Option<&Path>, require: Require) -> Verdict {
    let chain = read(parts);
    let findings = judge(&chain.records);
    let mut verdict = Verdict::refusal(0, String::new());
    verdict.run = chain.records.first().map(|record| record.run.clone());
    verdict.records = chain.records.len();
    verdict.bytes = parts
        .iter()
        .map(|part| u64::try_from(part.bytes.len()).unwrap_or(u64::MAX))
        .sum();
    if let Some(last) = chain.records.last() {
        verdict.head_seq = last.seq;
        verdict.head_h = Some(last.h.clone());
    }
    verdict.closed = findings
        .closed
        .as_ref()
        .map(|(state, exit)| format!("{state} (exit {exit})"));
    verdict.votes.clone_from(&findings.votes);
    verdict.break_glass = findings.break_glass;
    verdict.remarks.clone_from(&findings.remarks);
    verdict.sealed = chain
        .sealed
        .iter()
        .map(|torn| format!("{} bytes at {} of {}", torn.len, torn.offset, torn.segment))
        .collect();
    let mut altered = blobs(&chain, run, &mut verdict);
    if let Some(run) = run {
        let naming = chain
            .records
            .iter()
            .filter(|record| matches!(record.ev.as_str(), "genesis" | "run.amended"));
        altered.extend(naming.flat_map(|record| files(record, run)));
    }
    let (code, conclusion) = grade(&chain, &findings, altered, require, &mut verdict.findings);
    verdict.code = code;
    verdict.conclusion = conclusion;
    verdict
}

/// The files that the run was made with, or amended with, held against what the record says of them.
fn files(record: &Record, run: &Path) -> Vec<String> {
    let with = if record.ev == "genesis" { "began" } else { "was amended" };
    let named = record.data.get("files").and_then(serde_json::Value::as_object);
    let mut altered = Vec::new();
    for (name, digest) in named.into_iter().flatten() {
        let inside = Path::new(name)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        let bytes = inside.then(|| fs::read(run.join(name)));
        match bytes {
            Some(Ok(bytes)) => {
                let found = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
                if digest.as_str() != Some(found.as_str()) {
                    altered.push(format!("{name} is not the file that the run {with} with"));
                }
            }
            Some(Err(error)) => altered.push(format!("{name}, which the run {with} with, cannot be read: {error}")),
            None => altered.push(format!("{name} is no file of this run")),
        }
    }
    altered
}

fn blobs(chain: &Chain, run: Option<&Path>, verdict: &mut Verdict) -> Vec<String> {
    let mut altered = Vec::new();
    for record in &chain.records {
        for about in &record.blobs {
            verdict.blobs += 1;
            let Some(run) = run else { continue };
            match get(run, about) {
                Blob::Intact(_) => {}
                Blob::Erased => {
                    verdict.erased += 1;
                    altered.push(format!(
                        "blob {} of record {} was erased, and no record says who erased it",
                        about.c, record.seq
                    ));
                }
                Blob::Altered => altered.push(format!("blob {} of record {} was altered", about.c, record.seq)),
                Blob::Missing => altered.push(format!("blob {} of record {} is missing", about.c, record.seq)),
            }
        }
    }
    // After a broken chain nobody knows what else its records named.
    if let Some(run) = run.filter(|_| chain.faults.is_empty()) {
        altered.extend(beside(chain, run, &mut verdict.remarks));
    }
    altered
}

/// What is among the evidence that no record names: a crash may leave some, nobody else.
fn beside(chain: &Chain, run: &Path, remarks: &mut Vec<String>) -> Vec<String> {
    let named: Vec<&BlobRef> = chain.records.iter().flat_map(|record| &record.blobs).collect();
    let found = match unnamed(run, &named) {
        Ok(found) => found,
        Err(error) => return vec![format!("the evidence cannot be read: {error}")],
    };
    if found.pieces > 0 {
        remarks.push(format!(
            "{} pieces of evidence are named by no record: what they were for was refused, or never recorded",
            found.pieces
        ));
    }
    remarks.extend(found.ends.iter().map(|(pack, bytes)| {
        format!("the last {bytes} bytes of blobs/{pack} are no whole piece: a crash cut them off before their record")
    }));
    found.faults
}

fn grade(
    chain: &Chain,
    findings: &Findings,
    altered: Vec<String>,
    require: Require,
    faults: &mut Vec<String>,
) -> (u8, String) {
    let mut version = false;
    for fault in &chain.faults {
        match fault {
            Fault::Tampered(words) => faults.push(words.clone()),
            Fault::Version(words) => {
                version = true;
                faults.push(words.clone());
            }
        }
    }
    faults.extend(findings.broken.iter().cloned());
    faults.extend(altered);
    if version {
        return (2, "written by another version; verify it with that one".to_owned());
    }
    if !faults.is_empty() {
        return (4, "TAMPERED or damaged".to_owned());
    }
    if !findings.unknown.is_empty() {
        faults.extend(findings.unknown.iter().cloned());
        return (2, "it has events that this version does not know".to_owned());
    }
    if chain.records.is_empty() {
        return (4, "empty: a journal has at least its genesis".to_owned());
    }
    if !findings.approvals.is_empty() {
        faults.extend(findings.approvals.iter().cloned());
        return (6, "an approval is invalid or missing".to_owned());
    }
    if !chain.torn.is_empty() {
        faults.extend(chain.torn.iter().map(|torn| {
            format!(
                "{} bytes at {} of {} are an incomplete record",
                torn.len, torn.offset, torn.segment
            )
        }));
        return (
            3,
            "torn tail, not sealed: resume the run, or accept that its last record is lost".to_owned(),
        );
    }
    let open = !findings.unresolved.is_empty();
    if open && findings.closed.is_some() || findings.unresolved.iter().any(|words| words.contains("began again")) {
        faults.extend(findings.unresolved.iter().cloned());
        return (7, "an effect has no outcome".to_owned());
    }
    match (&findings.closed, require) {
        (Some(_), Require::Chain) => (0, "intact and closed".to_owned()),
        (Some(_), Require::Witness) => (
            1,
            "intact and closed, but nobody outside has witnessed it (see --require chain)".to_owned(),
        ),
        (None, Require::Chain | Require::Witness) => {
            (1, "intact so far, but the run is open or was cut off".to_owned())
        }
    }
}
