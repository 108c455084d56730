//! `pointsman compare`: two databases outside of a runbook, by the code that compares within one.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::projection::escape::visible;
use crate::provider::action::ActionErrorKind;
use crate::provider::sql::compare::all::{Choice, Manner, compare};
use crate::provider::sql::compare::ledger::{Forgetful, Ledger};
use crate::provider::sql::compare::meter::Meter;
use crate::provider::sql::compare::outcome::{Level, Outcome, TableOutcome, Verdict};
use crate::provider::sql::compare::wish::Wish;
use crate::provider::sql::compare::work::Hashing;

use super::args::{CompareArgs, TextOrJson};
use super::databases::addressed;
use super::ledger::FileLedger;
use super::out::Out;
use super::run::runtime;
use super::trouble::{Trouble, exit};

/// Not everything could be compared.
const UNPROVEN: u8 = 6;
/// Rows that are printed of a table; the JSON has all that are listed.
const PRINTED: usize = 20;
/// How often it is told how far it is.
const BEAT: Duration = Duration::from_millis(500);

/// Compares, and prints what was found.
pub fn perform(args: &CompareArgs, out: Out) -> Result<u8, Trouble> {
    let secret = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let source = addressed("source", &args.source, secret("POINTSMAN_SOURCE_PASSWORD"))?;
    let target = addressed("target", &args.target, secret("POINTSMAN_TARGET_PASSWORD"))?;
    let choice = choice(args)?;
    let ledger: Box<dyn Ledger> = match &args.ledger {
        None => Box::new(Forgetful),
        Some(path) => Box::new(FileLedger::open(path).map_err(|error| {
            Trouble::input(format!("the ledger {}: {error}", path.display()))
                .hint("name a file that can be written, and that no other comparison has")
        })?),
    };
    let cancel = CancellationToken::new();
    let meter = Arc::new(Meter::default());
    let manner = Manner {
        level: Level::named(&args.level).unwrap_or(Level::Rows),
        show_values: args.show_values,
        workers: usize::from(args.sessions),
        hashing: Hashing::default(),
        cancel: cancel.clone(),
        meter: Arc::clone(&meter),
        ledger,
    };
    let runtime = runtime()?;
    let compared = runtime.block_on(async {
        let comparing = compare(source, target, &choice, manner);
        tokio::pin!(comparing);
        let mut beat = tokio::time::interval(BEAT);
        let begun = Instant::now();
        let told = std::io::stderr().is_terminal();
        loop {
            tokio::select! {
                done = &mut comparing => break done,
                _ = beat.tick() => if told { out.progress(&meter.line(begun.elapsed())) },
                _ = tokio::signal::ctrl_c(), if !cancel.is_cancelled() => cancel.cancel(),
            }
        }
    });
    if std::io::stderr().is_terminal() {
        out.progress("");
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    match compared {
        Ok(outcome) => {
            print(&outcome, args.format, out)?;
            Ok(match outcome.verdict() {
                Verdict::Equal => 0,
                Verdict::Different => exit::FAILED,
                Verdict::Unproven => UNPROVEN,
            })
        }
        Err(error) => Err(Trouble {
            exit: match error.kind {
                ActionErrorKind::Cancelled => exit::STOPPED,
                ActionErrorKind::Transient | ActionErrorKind::Permanent | ActionErrorKind::InDoubt => UNPROVEN,
            },
            message: format!("nothing is proven: {}", error.message),
            hint: None,
        }),
    }
}

fn choice(args: &CompareArgs) -> Result<Choice, Trouble> {
    let list = |names: &[String]| -> Vec<String> { names.iter().map(|name| name.trim().to_owned()).collect() };
    let some = |names: &[String]| (!names.is_empty()).then(|| list(names));
    let (patterns, named): (Vec<_>, Vec<_>) = args.table.iter().partition(|name| name.contains('*'));
    if let Some(both) = patterns.iter().find(|pattern| pattern.contains('=')) {
        return Err(
            Trouble::input(format!("--table {both}: a pattern means the same name on both sides"))
                .hint("name tables that are called otherwise one by one: A=B"),
        );
    }
    let particular = !args.key.is_empty() || !args.columns.is_empty() || args.filter.is_some();
    if particular && !patterns.is_empty() {
        return Err(
            Trouble::input("--key, --columns and --where go with tables that are named, not with patterns")
                .hint("compare those tables by themselves"),
        );
    }
    let wishes = named.iter().map(|name| Wish {
        key: some(&args.key),
        columns: some(&args.columns),
        ignore: list(&args.ignore),
        filter: args.filter.clone(),
        ..Wish::parse(name)
    });
    Ok(Choice {
        wishes: wishes.collect(),
        patterns: patterns.into_iter().cloned().collect(),
        exclude: args.exclude.clone(),
    })
}

fn print(outcome: &Outcome, format: TextOrJson, out: Out) -> Result<(), Trouble> {
    if format == TextOrJson::Json {
        let text = serde_json::to_string_pretty(&outcome.json())
            .map_err(|error| Trouble::failed(format!("the result cannot be written: {error}")))?;
        out.line(&text);
        return Ok(());
    }
    out.line(&format!("source  {}", outcome.source));
    out.line(&format!("target  {}", outcome.target));
    for table in &outcome.tables {
        rows(table, out);
    }
    let said = |mark: &str, lines: &[String]| {
        lines
            .iter()
            .for_each(|line| out.line(&visible(&format!("{mark} {line}"))))
    };
    said("!", &outcome.problems);
    said("·", &outcome.notes);
    out.line(&outcome.line());
    Ok(())
}

fn rows(table: &TableOutcome, out: Out) {
    out.line(&visible(&table.line()));
    let line = |text: String| out.line(&visible(&format!("          {text}")));
    for words in &table.schema {
        line(format!("≠ {words}"));
    }
    for found in table.differences.iter().take(PRINTED) {
        let key: Vec<String> = found.key.iter().map(ToString::to_string).collect();
        let key = key.join(", ");
        let what = if found.columns.is_empty() {
            String::new()
        } else {
            format!(": {}", found.columns.join(", "))
        };
        let times = found.times.map(|times| format!(" ×{times}")).unwrap_or_default();
        line(format!("{:<8} {key}{what}{times}", found.kind.word()));
        for (name, values) in &found.values {
            line(format!("         {name}: {} → {}", values["source"], values["target"]));
        }
    }
    if table.differences.len() > PRINTED {
        let more = table.differences.len() - PRINTED;
        line(format!("and {more} more; --format json lists them"));
    }
    table.cut.iter().for_each(|words| line(format!("! {words}")));
    table.problems.iter().for_each(|words| line(format!("! {words}")));
    table.notes.iter().for_each(|words| line(format!("· {words}")));
    for (role, words, _) in &table.means {
        line(format!("· {role}: {words}"));
    }
}
