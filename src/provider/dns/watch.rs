//! Waits until servers give the new answer, and asks no more often than that takes: a cache is asked again when what it
//! holds has run out, a silent server less and less often. Must not send anything that changes something.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Outcome, Progress};

use super::lookup::{Answer, Asked, ask, ask_resolver};
use super::servers::{Kind, Server};
use super::verdict::{Known, Meant, Row, Verdict, agreement, rows_json, table};

/// The longest time between two questions to a server: somebody may empty a cache before its time.
const LONGEST: Duration = Duration::from_secs(60);
/// How often people see how long it still takes.
const BEAT: Duration = Duration::from_secs(5);

struct Watched {
    server: Server,
    /// How often it was asked without an answer in a row.
    silent: u32,
    /// How often it answered.
    answered: u32,
    /// When it may be asked again.
    due: Instant,
    row: Option<Row>,
    /// What it gave before the change, where that was asked.
    given: Option<Answer>,
}

/// The servers that are asked about one name.
pub struct Watch {
    asked: Asked,
    servers: Vec<Watched>,
    speed: f64,
    /// Questions sent so far.
    pub requests: u32,
    /// An authoritative server gave the new answer at a glimpse.
    pub glimpsed: bool,
    turn: usize,
    told: Vec<String>,
}

impl Watch {
    /// Asks `servers` about `asked`; waits are divided by `speed`.
    pub fn new(asked: Asked, servers: impl IntoIterator<Item = Server>, speed: f64) -> Self {
        Self {
            asked,
            servers: servers.into_iter().map(Watched::new).collect(),
            speed: speed.max(1.0),
            requests: 0,
            glimpsed: false,
            turn: 0,
            told: Vec::new(),
        }
    }

    /// Further servers.
    pub fn also(&mut self, servers: impl IntoIterator<Item = Server>) {
        self.servers.extend(servers.into_iter().map(Watched::new));
    }

    /// Remembers what every authoritative server gives now, before the change.
    pub async fn remember(&mut self) {
        let asked = &self.asked;
        let authorities = self
            .servers
            .iter_mut()
            .filter(|watched| watched.server.kind == Kind::Authority);
        let questions = authorities.map(async |watched| watched.given = watched.server.ask(asked).await.ok());
        let sent = join_all(questions).await.len();
        self.count(sent);
    }

    /// Asks one authoritative server, each in its turn, and keeps nothing but whether it gave the new answer.
    pub async fn glimpse(&mut self, meant: Meant<'_>) {
        let targets = meant.targets();
        let authorities: Vec<&Watched> = self
            .servers
            .iter()
            .filter(|watched| watched.server.kind == Kind::Authority)
            .collect();
        let turn = self.turn.checked_rem(authorities.len()).unwrap_or(0);
        let Some(watched) = authorities.get(turn) else { return };
        let answer = watched.server.ask(&self.asked).await;
        let known = watched.ask_for(&targets).await;
        let verdict = answer
            .ok()
            .map(|answer| watched.judged(&answer, meant, known.as_deref()));
        self.glimpsed = verdict == Some(Verdict::New);
        self.turn = self.turn.wrapping_add(1);
        self.count(1 + targets.len());
    }

    /// The longest TTL in seconds of an answer from before: what an alias hands to caches.
    pub fn longest_given(&self) -> Duration {
        let given = self.servers.iter().filter_map(|watched| watched.given.as_ref());
        Duration::from_secs(given.map(|answer| u64::from(answer.ttl)).max().unwrap_or(0))
    }

    fn count(&mut self, sent: usize) {
        self.requests = self.requests.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
    }

    /// Asks everybody who is due and does not give the new answer yet.
    pub async fn round(&mut self, meant: Meant<'_>) {
        let now = Instant::now();
        let asked = &self.asked;
        let due = self.servers.iter_mut().filter(|watched| {
            let new = watched.row.as_ref().is_some_and(|row| row.verdict == Verdict::New);
            !new && watched.due <= now
        });
        let (speed, targets) = (self.speed, meant.targets());
        let questions = due.map(async |watched| {
            let answer = watched.server.ask(asked).await;
            let known = watched.ask_for(&targets).await;
            watched.take(answer, meant, known.as_deref());
            watched.due = Instant::now() + watched.pause().div_f64(speed);
        });
        let sent = join_all(questions).await.len() * (1 + targets.len());
        self.count(sent);
    }

    /// What everybody answered last.
    pub fn rows(&self) -> Vec<Row> {
        self.servers.iter().filter_map(|watched| watched.row.clone()).collect()
    }

    /// Whether everybody of `kind` gave the new answer.
    pub fn agreed_of(&self, kind: Kind) -> bool {
        let mut of_kind = self.servers.iter().filter(|watched| watched.server.kind == kind);
        of_kind.all(|watched| watched.row.as_ref().is_some_and(|row| row.verdict == Verdict::New))
    }

    /// Waits until everybody of `kind` gives the new answer, `bound` at most.
    pub async fn until(&mut self, kind: Kind, meant: Meant<'_>, bound: Duration, cx: &Cx) -> Result<(), ActionError> {
        let begun = Instant::now();
        loop {
            self.round(meant).await;
            self.tell(cx);
            if self.agreed_of(kind) {
                return Ok(());
            }
            if begun.elapsed().mul_f64(self.speed) >= bound {
                let words = format!("{}: {}; look at the servers named", self.asked.name, self.words());
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            self.rest(cx).await?;
        }
    }

    /// Waits until somebody may be asked again.
    pub async fn rest(&self, cx: &Cx) -> Result<(), ActionError> {
        let waiting = self
            .servers
            .iter()
            .filter(|watched| watched.row.as_ref().is_none_or(|row| row.verdict != Verdict::New));
        let due = waiting.map(|watched| watched.due).min();
        // Nobody disagrees: it is something else that is waited for.
        let due = due.unwrap_or_else(|| Instant::now() + BEAT.div_f64(self.speed));
        while let Some(left) = due
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            let left = left.mul_f64(self.speed);
            let words = format!(
                "{}; asks again in {} s",
                agreement(&self.rows()),
                left.as_secs_f64().ceil()
            );
            cx.reporter.progress(Progress::State(words));
            cx.pause(left.min(BEAT)).await?;
        }
        Ok(())
    }

    /// Shows the table where it says something new.
    pub fn tell(&mut self, cx: &Cx) {
        let lines = table(&self.rows());
        if lines != self.told {
            for line in &lines {
                cx.reporter.progress(Progress::Line(line.clone()));
            }
            self.told = lines;
        }
    }

    /// Whoever does not agree, by name; else the agreement.
    pub fn words(&self) -> String {
        let rows = self.rows();
        let others: Vec<String> = rows
            .iter()
            .filter(|row| row.verdict != Verdict::New)
            .map(|row| format!("{} {}", row.server, row.words()))
            .collect();
        if others.is_empty() {
            agreement(&rows)
        } else {
            format!("{}: {}", agreement(&rows), others.join("; "))
        }
    }

    /// What a step keeps of it: rows and number of questions in its result, the table as evidence.
    pub fn keep(&self, outcome: &mut Outcome) {
        let rows = self.rows();
        outcome.result.insert("servers".to_owned(), rows_json(&rows));
        outcome.result.insert("requests".to_owned(), json!(self.requests));
        let mut text = table(&rows).join("\n");
        text.push_str(&format!("\n{} questions were sent\n", self.requests));
        outcome.evidence.push(("answers".to_owned(), text.into_bytes()));
        outcome.summary = format!("{}; {}", outcome.summary, self.words());
    }
}

impl Server {
    /// Asks it.
    pub async fn ask(&self, asked: &Asked) -> Result<Answer, String> {
        let at = self.at.clone()?;
        let answer = match self.kind {
            Kind::Authority => ask(at, asked).await,
            Kind::Resolver => ask_resolver(at, asked).await,
        };
        answer.map_err(|error| error.message)
    }
}

impl Watched {
    fn new(server: Server) -> Self {
        Self {
            server,
            silent: 0,
            answered: 0,
            due: Instant::now(),
            row: None,
            given: None,
        }
    }

    /// What it gives for the targets of an alias, where it knows any of them.
    async fn ask_for(&self, targets: &[Asked]) -> Option<Vec<String>> {
        let mut known = Vec::new();
        for target in targets {
            known.extend(
                self.server
                    .ask(target)
                    .await
                    .ok()
                    .into_iter()
                    .flat_map(|answer| answer.values),
            );
        }
        (!known.is_empty()).then_some(known)
    }

    fn judged(&self, answer: &Answer, meant: Meant<'_>, targets: Option<&[String]>) -> Verdict {
        let given = self.given.as_ref().map(|given| given.values.as_slice());
        meant.judge(self.server.kind, answer, Known { targets, given })
    }

    fn take(&mut self, answer: Result<Answer, String>, meant: Meant<'_>, targets: Option<&[String]>) {
        let (answer, verdict) = match answer {
            Ok(answer) => {
                self.silent = 0;
                self.answered = self.answered.saturating_add(1);
                let verdict = self.judged(&answer, meant, targets);
                (Some(answer), verdict)
            }
            Err(why) => {
                self.silent = self.silent.saturating_add(1);
                (None, Verdict::Silent(why))
            }
        };
        self.row = Some(Row {
            kind: self.server.kind,
            server: self.server.label.clone(),
            answer,
            verdict,
        });
    }

    /// How long to leave it alone.
    fn pause(&self) -> Duration {
        let Some(row) = &self.row else { return Duration::ZERO };
        match &row.verdict {
            Verdict::New => Duration::ZERO,
            Verdict::Old | Verdict::Other => match row.left() {
                // A second more: TTLs are whole seconds, and the last one counts.
                Some(left) => Duration::from_secs(u64::from(left) + 1).min(LONGEST),
                // An authoritative server is there at once or takes its time.
                None => Duration::from_millis(250 << self.answered.saturating_sub(1).min(4)),
            },
            Verdict::Silent(_) => Duration::from_secs(1 << self.silent.min(5)),
        }
    }
}
