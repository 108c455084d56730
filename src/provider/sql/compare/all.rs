//! A whole comparison: which tables, several at a time; the watch that nobody writes; the verdict.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::database::Database;
use crate::provider::sql::session::{Session, all};

use super::between;
use super::brake::Brake;
use super::dialect::{Dialect, Remarks};
use super::kind::{Table, TableName};
use super::ledger::Ledger;
use super::meter::Meter;
use super::outcome::{Level, Outcome, TableOutcome};
use super::pool::Pool;
use super::row::EXPRESSION;
use super::side::{Side, Touch, Work};
use super::table::{Shared, TableJob};
use super::wish::{Question, Wish};
use super::work::Hashing;

/// Which tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Pairs that are named.
    pub wishes: Vec<Wish>,
    /// Tables of both sides by patterns with `*`.
    pub patterns: Vec<String>,
    /// Tables that no pattern means.
    pub exclude: Vec<String>,
}

/// How it is compared.
pub struct Manner {
    pub level: Level,
    pub show_values: bool,
    /// Sessions that each server has at a time.
    pub workers: usize,
    pub hashing: Hashing,
    pub cancel: CancellationToken,
    pub meter: Arc<Meter>,
    pub ledger: Box<dyn Ledger>,
    /// What holds it back.
    pub brake: Arc<Brake>,
}

/// What a catalogue has.
struct Describe<'a> {
    dialect: &'static dyn Dialect,
    name: &'a TableName,
}

impl Work for Describe<'_> {
    type Out = Option<(Table, Remarks)>;

    fn run<'a>(
        &'a self,
        session: &'a mut dyn Session,
    ) -> futures::future::BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move {
            let Some(table) = self.dialect.describe(session, self.name).await? else {
                return Ok(None);
            };
            let remarks = self.dialect.remarks(session, self.name).await?;
            Ok(Some((table, remarks)))
        })
    }
}

struct Names(&'static str);

impl Work for Names {
    type Out = Vec<String>;

    fn run<'a>(
        &'a self,
        session: &'a mut dyn Session,
    ) -> futures::future::BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move { Ok(all(session, self.0).await?.into_iter().flatten().flatten().collect()) })
    }
}

/// Compares. An error is only what keeps everything from being looked at.
pub async fn compare(
    source: Database,
    target: Database,
    choice: &Choice,
    manner: Manner,
) -> Result<Outcome, ActionError> {
    let begun = Instant::now();
    let level = manner.level;
    let shared = Arc::new(Shared {
        source: Side::new("source", source, manner.workers),
        target: Side::new("target", target, manner.workers),
        pool: Pool::new(manner.workers),
        ledger: manner.ledger,
        cancel: manner.cancel,
        meter: manner.meter,
        workers: manner.workers.max(1),
        brake: manner.brake,
        hashing: manner.hashing,
    });
    let mut outcome = Outcome {
        source: shared.source.place(),
        target: shared.target.place(),
        level,
        tables: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        held: None,
        took: Duration::ZERO,
    };
    let wishes = chosen(&shared, choice, &mut outcome).await?;
    shared.meter.plan(
        wishes
            .iter()
            .map(|wish| TableOutcome::new(wish.source.to_string(), wish.target.to_string(), level).name()),
    );
    // A table may be compared with several: it is watched once.
    let watched_once = |names: BTreeSet<&TableName>| names.into_iter().cloned().collect::<Vec<_>>();
    let names = (
        watched_once(wishes.iter().map(|wish| &wish.source).collect()),
        watched_once(wishes.iter().map(|wish| &wish.target).collect()),
    );
    let before = tokio::join!(shared.source.settled(&names.0), shared.target.settled(&names.1));
    // What looked for tables saw a state from before the watch began.
    shared.pool.clear();
    shared.source.forget().await;
    shared.target.forget().await;
    let fence = fence(&shared, &before);
    let tables = futures::stream::iter(wishes.into_iter().enumerate().map(|(place, wish)| {
        let shared = Arc::clone(&shared);
        let fence = fence.clone();
        // On the heap: what a table takes is large, and a stack may be small.
        Box::pin(async move {
            let outcome = one(&shared, place, &wish, level, manner.show_values, &fence).await;
            shared.meter.through(place, outcome.verdict());
            outcome
        })
    }));
    outcome.tables = tokio::select! {
        tables = tables.buffered(shared.workers).collect() => tables,
        () = shared.brake.watch() => Vec::new(),
        () = shared.source.stay(&names.0) => Vec::new(),
        () = shared.target.stay(&names.1) => Vec::new(),
    };
    if shared.cancel.is_cancelled() {
        return Err(ActionError::new(
            ActionErrorKind::Cancelled,
            "the comparison was cancelled",
        ));
    }
    let after = tokio::join!(
        shared.source.touched_since(&names.0, before.0.as_ref()),
        shared.target.touched_since(&names.1, before.1.as_ref())
    );
    watched(&shared.source, before.0.as_ref(), after.0.as_ref(), &mut outcome);
    watched(&shared.target, before.1.as_ref(), after.1.as_ref(), &mut outcome);
    slowed(&shared, &mut outcome);
    outcome.took = begun.elapsed();
    Ok(outcome)
}

/// What kept it from going as fast as it could.
fn slowed(shared: &Shared, outcome: &mut Outcome) {
    for side in [&shared.source, &shared.target] {
        let words = side.pace.words();
        outcome
            .notes
            .extend(words.map(|words| format!("{}: {words}", side.role)));
    }
    let held = shared.brake.held();
    let Some(words) = held.words() else { return };
    if held.over {
        outcome.problems.push(format!(
            "{words}; that is longer than it may be held (pause_at_most): compare again when the condition holds"
        ));
    } else {
        outcome.notes.push(words);
    }
    outcome.held = Some(held);
}

/// What the comparison is of, for ranges that were compared before; nothing where nobody can tell that nothing changed.
fn fence(shared: &Shared, before: &(Option<Touch>, Option<Touch>)) -> Option<String> {
    let mut words = format!("{EXPRESSION}\n");
    for (side, touch) in [(&shared.source, &before.0), (&shared.target, &before.1)] {
        let state = side.standing(touch.as_ref())?;
        words.push_str(&format!("{}\n{state}\n", side.place()));
    }
    Some(words)
}

fn watched(side: &Side, before: Option<&Touch>, after: Option<&Touch>, outcome: &mut Outcome) {
    match (before, after) {
        (Some(before), Some(after))
            if before.state == after.state && after.hidden && before.horizon != after.horizon =>
        {
            outcome.problems.push(format!(
                "{}: somebody wrote on the server, and a session that has not ended its transaction may have written to the \
                 tables before it; end that session (pg_stat_activity), and compare again",
                side.role
            ));
        }
        (Some(before), Some(after)) if before.state == after.state => {
            outcome.notes.push(format!(
                "{}: nobody wrote meanwhile, by {}",
                side.role,
                side.dialect.watch()
            ));
            if before.moving {
                outcome.problems.push(format!(
                    "{}: something was being written when the comparison began; freeze writes, and compare again",
                    side.role
                ));
            }
        }
        (Some(_), Some(_)) => outcome.problems.push(format!(
            "{}: somebody wrote to the tables while they were compared (seen by {}); freeze writes, and compare again",
            side.role,
            side.dialect.watch()
        )),
        (Some(_), None) => outcome.problems.push(format!(
            "{}: it could not be asked at the end whether somebody had written",
            side.role
        )),
        (None, _) => outcome.problems.push(format!(
            "{}: nothing tells whether somebody wrote meanwhile; what could have is {}",
            side.role,
            side.dialect.watch()
        )),
    }
}

/// The pairs that were named, and those that patterns mean.
async fn chosen(shared: &Shared, choice: &Choice, outcome: &mut Outcome) -> Result<Vec<Wish>, ActionError> {
    let mut wishes = choice.wishes.clone();
    if choice.patterns.is_empty() {
        return Ok(wishes);
    }
    let mut held = shared.pool.take().await;
    let (source, target) = (
        Names(shared.source.dialect.tables()),
        Names(shared.target.dialect.tables()),
    );
    let (here, there) = tokio::join!(
        shared.source.perform(&mut held.pair.source, &source, &shared.cancel),
        shared.target.perform(&mut held.pair.target, &target, &shared.cancel)
    );
    let (here, there) = (here?, there?);
    let meant = |name: &str| {
        choice.patterns.iter().any(|pattern| fits(pattern, name))
            && !choice.exclude.iter().any(|pattern| fits(pattern, name))
            && !name.starts_with("pointsman_")
    };
    let (mut extra, mut found) = (Vec::new(), false);
    for name in here.iter().filter(|name| meant(name)) {
        found = true;
        if choice.wishes.iter().any(|wish| wish.source == plain(name)) {
            continue;
        }
        // The same name, or the only one that differs from it in case.
        let alike: Vec<&String> = there.iter().filter(|other| other.eq_ignore_ascii_case(name)).collect();
        let other = match alike.as_slice() {
            many if many.contains(&name) => name,
            [single] => single,
            _ => name,
        };
        wishes.push(Wish::new(plain(name), plain(other)));
    }
    for name in there.iter().filter(|name| meant(name)) {
        if !wishes.iter().any(|wish| wish.target == plain(name)) {
            extra.push(name.clone());
        }
    }
    if !found {
        let words = format!("no table of the source is called {}", choice.patterns.join(" or "));
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    for name in extra {
        outcome.problems.push(format!(
            "only the target has a table {name}: exclude it where that is meant"
        ));
    }
    Ok(wishes)
}

fn plain(name: &str) -> TableName {
    TableName {
        schema: None,
        name: name.to_owned(),
    }
}

/// Whether a name is meant by a pattern, in which `*` is anything.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((tail, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(tail)
}

async fn one(
    shared: &Arc<Shared>,
    place: usize,
    wish: &Wish,
    level: Level,
    show_values: bool,
    fence: &Option<String>,
) -> TableOutcome {
    let begun = Instant::now();
    let mut outcome = TableOutcome::new(wish.source.to_string(), wish.target.to_string(), level);
    if let Err(error) = compared(shared, place, wish, show_values, fence, &mut outcome).await {
        outcome.problems.push(error.message);
    }
    outcome.took = begun.elapsed();
    outcome
}

async fn compared(
    shared: &Arc<Shared>,
    place: usize,
    wish: &Wish,
    show_values: bool,
    fence: &Option<String>,
    outcome: &mut TableOutcome,
) -> Result<(), ActionError> {
    let (source, target) = {
        let mut held = shared.pool.take().await;
        let describe = |side: &Side, name| Describe {
            dialect: side.dialect,
            name,
        };
        let one = describe(&shared.source, &wish.source);
        let other = describe(&shared.target, &wish.target);
        let (here, there) = tokio::join!(
            shared.source.perform(&mut held.pair.source, &one, &shared.cancel),
            shared.target.perform(&mut held.pair.target, &other, &shared.cancel)
        );
        (here?, there?)
    };
    let (mut source, mut target) = match (source, target) {
        (Some(source), Some(target)) => {
            for (role, remarks) in [("source", source.1), ("target", target.1)] {
                let told = |words: String| format!("{role}: {words}");
                outcome.notes.extend(remarks.notes.into_iter().map(told));
                outcome.problems.extend(remarks.problems.into_iter().map(told));
            }
            (source.0, target.0)
        }
        (source, target) => {
            for (there, role, name) in [
                (source.is_some(), "source", &wish.source),
                (target.is_some(), "target", &wish.target),
            ] {
                if !there {
                    outcome.problems.push(format!("the {role} has no table {name}"));
                }
            }
            // A table that only one side has is a difference; one that neither has is a mistake.
            if source.is_some() != target.is_some() {
                outcome.schema.append(&mut outcome.problems);
            }
            return Ok(());
        }
    };
    outcome.notes.extend(between::met(wish, &mut source, &mut target));
    let Some(question) = Question::new(wish, &source, &target, show_values, outcome) else {
        return Ok(());
    };
    let of = match fence {
        Some(fence) => {
            let asked = format!("{fence}{wish:?}\n{:?}\n{:?}", question.source, question.target);
            data_encoding::HEXLOWER.encode(&Sha256::digest(asked.as_bytes()))
        }
        // Nothing is kept that nobody could hold against what has been written since.
        None => String::new(),
    };
    let mut job = TableJob::new(
        Arc::clone(shared),
        (source.name, target.name),
        of,
        question,
        outcome.level,
    );
    // An estimate of none is what an engine says that has not counted yet.
    job.estimate = source.estimate.or(target.estimate).filter(|rows| *rows > 0);
    job.place = place;
    shared.meter.begin(place, job.estimate);
    let job = Arc::new(job);
    let gathered = Box::pin(Arc::clone(&job).run()).await;
    if gathered.chunks > 0 {
        outcome.sums = Some((gathered.source, gathered.target));
    }
    outcome.chunks = gathered.chunks;
    outcome.reused = gathered.reused;
    outcome.unlike = gathered.unlike;
    outcome.differences = gathered.differences;
    outcome
        .differences
        .sort_by(|one, other| super::differences::order(&one.key, &other.key));
    outcome.cut = gathered.cut;
    outcome.notes.extend(gathered.notes);
    outcome.problems.extend(gathered.problems);
    outcome.means = job.means();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_pattern_means_names() {
        for (pattern, name, expected) in [
            ("*", "orders", true),
            ("order*", "Orders", true),
            ("*_log", "audit_log", true),
            ("*_log", "audit_logs", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
