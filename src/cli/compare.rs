//! `pointsman compare`: two databases outside of a runbook, by the code that compares within one.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::projection::escape::visible;
use crate::provider::action::{ActionError, ActionErrorKind, Cx};
use crate::provider::connection::{Connections, Target};
use crate::provider::probe::{Probe, Silent};
use crate::provider::registry::{Request, build};
use crate::provider::sql::compare::all::{Choice, Manner, compare};
use crate::provider::sql::compare::brake::{Brake, Conditions};
use crate::provider::sql::compare::ledger::{Forgetful, Ledger};
use crate::provider::sql::compare::meter::Meter;
use crate::provider::sql::compare::outcome::{Level, Outcome, TableOutcome, Verdict};
use crate::provider::sql::compare::wish::Wish;
use crate::provider::sql::compare::work::Hashing;
use crate::provider::sql::database::Database;
use crate::runbook::expression;
use crate::runbook::text::duration;

use super::args::{CompareArgs, TextOrJson};
use super::databases::addressed;
use super::ledger::FileLedger;
use super::out::Out;
use super::run::runtime;
use super::trouble::{Trouble, exit};

/// Not everything could be compared.
const UNPROVEN: u8 = 6;
/// What a predicate over a query's result may name.
const RESULTS: [&str; 5] = ["rows", "value", "first", "columns", "result"];
/// Rows that are printed of a table; the JSON has all that are listed.
const PRINTED: usize = 20;
/// How often it is told how far it is.
const BEAT: Duration = Duration::from_millis(500);
/// And where every time is a line of its own.
const SLOW_BEAT: Duration = Duration::from_secs(30);

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
    let at_most = duration(&args.pause_at_most).ok_or_else(|| {
        Trouble::input(format!("--pause-at-most {}: that is no duration", args.pause_at_most))
            .hint("write 90s, 30m or 2h")
    })?;
    let conditions = Conditions {
        reads: Arc::new(conditions(args, &source, &target)?),
        at_most: at_most.as_duration(),
        cx: looking(&cancel),
    };
    let runtime = runtime()?;
    runtime.block_on(understood(&conditions))?;
    let brake = Arc::new(Brake::new(conditions));
    let manner = Manner {
        level: Level::named(&args.level).unwrap_or(Level::Rows),
        show_values: args.show_values,
        workers: usize::from(args.sessions),
        hashing: Hashing::named(&args.hashing).unwrap_or_default(),
        cancel: cancel.clone(),
        meter: Arc::clone(&meter),
        brake: Arc::clone(&brake),
        ledger,
    };
    let compared = runtime.block_on(async {
        let comparing = compare(source, target, &choice, manner);
        tokio::pin!(comparing);
        let mut beat = tokio::time::interval(BEAT);
        let begun = Instant::now();
        let told = std::io::stderr().is_terminal();
        let mut said = begun;
        loop {
            tokio::select! {
                done = &mut comparing => break done,
                _ = beat.tick() => {
                    let line = meter.line(begun.elapsed().saturating_sub(brake.idle()));
                    let line = visible(&format!("{:>3.0} %  {}", meter.share() * 100.0, brake.told(&line)));
                    if told {
                        out.progress(&line);
                    } else if said.elapsed() >= SLOW_BEAT {
                        said = Instant::now();
                        out.still(&line);
                    }
                },
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
        Err(error) => Err(unproven(&error)),
    }
}

fn unproven(error: &ActionError) -> Trouble {
    Trouble {
        exit: match error.kind {
            ActionErrorKind::Cancelled => exit::STOPPED,
            ActionErrorKind::Transient | ActionErrorKind::Permanent | ActionErrorKind::InDoubt => UNPROVEN,
        },
        message: format!("nothing is proven: {}", error.message),
        hint: None,
    }
}

/// The reads of `--while`.
fn conditions(args: &CompareArgs, source: &Database, target: &Database) -> Result<Vec<Probe>, Trouble> {
    let known = |database: &Database| match database {
        Database::Sqlite(target) => Target::Sqlite(target.clone()),
        Database::Server(target) => Target::Server(target.clone()),
    };
    let connections = Connections::new()
        .with("source", known(source))
        .with("target", known(target));
    let shape = "write a side, a predicate and a query: --while target 'value < 5' 'select …'";
    let made = args.conditions.chunks(3).map(|words| {
        let [side, expect, sql] = words else {
            return Err(Trouble::input("--while takes three values").hint(shape));
        };
        if !matches!(side.as_str(), "source" | "target") {
            return Err(Trouble::input(format!("--while {side}: that is no side")).hint(shape));
        }
        let names = expression::names(expect)
            .map_err(|error| Trouble::input(format!("--while {side}: {error}")).hint(shape))?;
        let head = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        if let Some(name) = names.iter().find(|name| !RESULTS.contains(&head(name).as_str())) {
            return Err(
                Trouble::input(format!("--while {side}: a query's result has no {name}"))
                    .hint(format!("it has {}", RESULTS.join(", "))),
            );
        }
        let request = Request {
            uses: "sql.assert",
            on: std::slice::from_ref(side),
            with: &json!({ "sql": sql, "expect": expect }),
        };
        let action = build(&request, &connections)
            .map_err(|error| Trouble::input(format!("--while {side}: {error}")).hint(shape))?;
        Ok(Probe {
            uses: "sql.assert".to_owned(),
            action,
        })
    });
    made.collect()
}

/// Whether a predicate and its query can be asked at all is said before anything is compared.
async fn understood(conditions: &Conditions) -> Result<(), Trouble> {
    for read in conditions.reads.iter() {
        match read.action.check(&conditions.cx).await {
            Ok(_ready) => {}
            Err(error) if error.kind == ActionErrorKind::Permanent => {
                return Err(Trouble::input(format!("--while: {}", error.message))
                    .hint("it has to be one query that the side can answer"));
            }
            Err(error) => return Err(unproven(&error)),
        }
    }
    Ok(())
}

/// What a look of `--while` is told: there is no run.
fn looking(cancel: &CancellationToken) -> Cx {
    Cx {
        run: String::new(),
        step: String::new(),
        attempt: 1,
        key: String::new(),
        intent_at: chrono::Utc::now(),
        identity: Value::Null,
        forward: Value::Null,
        acked: None,
        mutates: false,
        answers: BTreeMap::new(),
        target_written: false,
        cancel: cancel.clone(),
        speed: 1.0,
        reporter: Arc::new(Silent),
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
