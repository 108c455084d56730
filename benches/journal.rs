//! Prints what a journal of 100,000 records costs: `pointsman verify` beside `sha256sum` over the same bytes, and a
//! replay (read, check the chain, fold every event), all on the same machine in the same run: best and median of five.
//! Aims: verify within 3 × of sha256sum; a replay under 1 s.
//!   cargo bench --bench journal
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::engine::record;
use pointsman::journal::chain::read;
use pointsman::journal::reader::{read_run, segments};
use pointsman::journal::{Actor, Draft, JournalWriter, Stamp};
use pointsman::provider::registry::catalogue;
use pointsman::run::{RunState, apply};
use pointsman::runbook::plan::Plan;
use serde_json::{Value, json};

const RECORDS: u64 = 100_000;
const STEPS: usize = 500;
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn main() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("r1");
    std::fs::create_dir(&run).unwrap();
    let plan = plan();
    let records = write(&run);
    let segment = run.join("journal/000001.jsonl");
    let bytes = std::fs::metadata(&segment).unwrap().len();
    println!("{records} records, {bytes} bytes, {} bytes a record", bytes / records);

    let sum = five(|| tool("sha256sum", &[segment.as_os_str()]));
    let run_arguments = [
        "verify".as_ref(),
        run.as_os_str(),
        "--require".as_ref(),
        "chain".as_ref(),
    ];
    let verify = five(|| tool(env!("CARGO_BIN_EXE_pointsman"), &run_arguments));
    row("sha256sum", &sum, records, None);
    row("pointsman verify", &verify, records, Some(&sum));

    row(
        "  read the files",
        &five(|| keep(segments(&run).unwrap())),
        records,
        None,
    );
    let parts = segments(&run).unwrap();
    row(
        "  parse and check the chain",
        &five(|| keep(read(&parts))),
        records,
        None,
    );
    let chain = read(&parts);
    assert!(chain.faults.is_empty());
    let decode = five(|| {
        for record in &chain.records {
            keep(record::event(record).unwrap());
        }
    });
    row("  decode the events", &decode, records, None);
    row("replay", &five(|| keep(replay(&run, &plan))), records, Some(&sum));
}

fn plan() -> Plan {
    let mut text = String::from(
        "version: 1\nname: long\ntitle: \"A long night\"\nconnections:\n  target: { uses: sqlite, path: nowhere.db }\n\
         environments:\n  lab: { kind: lab }\nphases:\n  - id: one\n    steps:\n",
    );
    for step in 0..STEPS {
        text.push_str(&format!(
            "      - id: step_{step}\n        title: Step {step}\n        uses: sql.exec\n        on: target\n        \
             with: {{ sql: delete from a }}\n        rollback: {{ not_needed: it is a bench }}\n"
        ));
    }
    pointsman::runbook::plan(text.as_bytes(), "lab", &catalogue(), Utc::now()).unwrap()
}

/// Writes a run of many steps, each with its gate, its effect, its checks and what people noted meanwhile.
fn write(run: &Path) -> u64 {
    let mut writer = JournalWriter::create(run, "20261205-2200-abcd", "9d0e8f52-1f34-4c0f-9a33-6a2f2f1a0b11").unwrap();
    let start: DateTime<Utc> = "2026-12-05T22:00:00.123456789Z".parse().unwrap();
    let mut batch = 0_u32;
    let mut append = |writer: &mut JournalWriter, drafts: Vec<Draft>| {
        batch += 1;
        let stamp = Stamp {
            t: start + TimeDelta::milliseconds(i64::from(batch) * 37),
            mono_ns: 1_000_000_000_000 + u64::from(batch) * 37_000_000_u64,
        };
        writer.append(drafts, stamp).unwrap();
        batch
    };
    append(
        &mut writer,
        vec![draft("genesis", None, json!({ "operator": "olga", "runbook": "long" }))],
    );
    for step in 0..STEPS {
        let id = format!("step_{step}");
        let request = step + 1;
        let before = (0..20).map(|index| check(&id, "before", index)).collect();
        append(&mut writer, vec![draft("step.checking", Some(&id), json!({}))]);
        append(&mut writer, before);
        append(
            &mut writer,
            vec![draft(
                "gate.requested",
                Some(&id),
                json!({
                    "request": request, "subject": "step", "action_digest": DIGEST, "evidence_digest": DIGEST,
                    "identity": { "account": "000000000000", "region": "us-east-1", "database": "ledger" },
                    "requested_ms": 1_796_508_000_123_u64, "min": 1, "roles": ["operator"],
                }),
            )],
        );
        append(
            &mut writer,
            vec![draft(
                "gate.vote",
                None,
                json!({
                    "request": request, "decision": "approve", "person": "olga", "role": "operator",
                    "assurance": "typed", "comment": "as rehearsed",
                }),
            )],
        );
        append(
            &mut writer,
            vec![draft("gate.granted", None, json!({ "request": request }))],
        );
        append(
            &mut writer,
            vec![draft(
                "effect.intent",
                Some(&id),
                json!({
                    "role": "do", "request": request, "action_digest": DIGEST, "mutates": true,
                }),
            )],
        );
        append(
            &mut writer,
            vec![draft(
                "effect.ack",
                Some(&id),
                json!({ "role": "do", "provider_id": "req-0042" }),
            )],
        );
        append(
            &mut writer,
            vec![draft(
                "effect.outcome",
                Some(&id),
                json!({
                    "role": "do", "result": "done", "detail": "1204 rows of São Paulo", "outputs": { "rows": 1204 },
                    "observed": false,
                }),
            )],
        );
        append(&mut writer, vec![draft("step.verifying", Some(&id), json!({}))]);
        append(&mut writer, (0..20).map(|index| check(&id, "after", index)).collect());
        append(
            &mut writer,
            vec![draft("step.done", Some(&id), json!({ "outputs": { "rows": 1204 } }))],
        );
        let share = RECORDS * (u64::try_from(step).unwrap() + 1) / u64::try_from(STEPS).unwrap();
        while writer.head().0 + 2 < share {
            append(
                &mut writer,
                vec![draft("note", None, json!({ "person": "olga", "blob": DIGEST }))],
            );
        }
    }
    append(
        &mut writer,
        vec![draft(
            "run.closed",
            None,
            json!({
                "state": "committed", "exit": 0, "reason": "every step is done",
            }),
        )],
    );
    writer.head().0
}

fn check(step: &str, when: &str, index: u32) -> Draft {
    let data = json!({
        "when": when, "index": index, "uses": "sql.assert", "ok": true,
        "detail": "select count(*) from orders: 1204 as expected",
    });
    draft("check.result", Some(step), data)
}

fn draft(ev: &str, step: Option<&str>, data: Value) -> Draft {
    Draft {
        actor: Actor {
            id: "olga".to_owned(),
            via: "cockpit".to_owned(),
            uid: 1000,
            host: "bridge-1".to_owned(),
        },
        ev: ev.to_owned(),
        step: step.map(str::to_owned),
        attempt: step.map(|_| 1),
        data: data.as_object().unwrap().clone(),
        blobs: Vec::new(),
    }
}

fn replay(run: &Path, plan: &Plan) -> RunState {
    let chain = read_run(run).unwrap();
    assert!(chain.faults.is_empty());
    let mut state = RunState::new(Arc::new(facts_of(plan, Mode::Real)));
    for record in &chain.records {
        if let Some(event) = record::event(record).unwrap() {
            state = apply(state, &event).unwrap();
        }
    }
    assert!(state.is_closed());
    state
}

fn tool(program: &str, arguments: &[&std::ffi::OsStr]) {
    let ended = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success(), "{program}: {ended}");
}

fn keep<T>(value: T) {
    drop(black_box(value));
}

fn five(mut work: impl FnMut()) -> [Duration; 5] {
    let mut times = [Duration::ZERO; 5];
    for time in &mut times {
        let from = Instant::now();
        work();
        *time = from.elapsed();
    }
    times.sort();
    times
}

fn row(name: &str, times: &[Duration; 5], records: u64, beside: Option<&[Duration; 5]>) {
    let [best, median] = [times[0], times[2]];
    let each = best.as_secs_f64() * 1e6 / records as f64;
    let ratio = beside.map_or_else(String::new, |sum| {
        let of = |mine: Duration, theirs: Duration| mine.as_secs_f64() / theirs.as_secs_f64();
        format!("   {:.2} × / {:.2} × sha256sum", of(best, sum[0]), of(median, sum[2]))
    });
    println!(
        "{name:<28} best {:>7.1} ms, median {:>7.1} ms, {each:>6.2} µs a record{ratio}",
        best.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3
    );
}
