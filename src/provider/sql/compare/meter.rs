//! How far a comparison is, for people: rows and tables, how fast it goes and how long it will take still. Pure but for what
//! it was told; must not know the clock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outcome::{Difference, Verdict, grouped};

/// The rows of so long tell how fast it goes.
const LATELY: Duration = Duration::from_secs(10);
/// Keys of rows that differ that are shown of a table while it runs.
const KEYS: usize = 5;
/// Below that share of its keys a table's size is not reckoned by it.
const TOO_LITTLE: f64 = 0.02;

/// How far a comparison is.
#[derive(Debug, Default)]
pub struct Meter {
    parts: Mutex<Vec<Part>>,
    samples: Mutex<VecDeque<(Duration, u64)>>,
}

/// A table.
#[derive(Debug, Default, Clone)]
struct Part {
    name: String,
    begun: bool,
    through: Option<Verdict>,
    rows: u64,
    /// Rows of a part that is still read.
    reading: u64,
    /// Rows that were read again to find those that differ.
    again: u64,
    estimate: Option<u64>,
    /// The share of its keys that is behind it.
    reached: f64,
    unlike: u64,
    differences: usize,
    keys: Vec<String>,
}

impl Part {
    fn seen(&self) -> u64 {
        self.rows + self.reading
    }

    /// How many rows it will have, as far as that can be said.
    fn expected(&self) -> Option<u64> {
        if self.through.is_some() {
            return Some(self.rows);
        }
        match self.estimate {
            Some(estimate) if self.seen() <= estimate => Some(estimate),
            _ if self.reached >= TOO_LITTLE => Some((self.rows as f64 / self.reached) as u64),
            // An engine's estimate may be half of what there is.
            Some(_) => Some(self.seen() + self.seen() / 10),
            None => None,
        }
    }

    fn differs(&self) -> bool {
        self.unlike > 0 || self.through == Some(Verdict::Different)
    }

    /// What asks for people comes first.
    fn order(&self) -> u8 {
        match self.through {
            _ if self.differs() => 0,
            Some(Verdict::Unproven | Verdict::Different) => 1,
            None if self.begun => 2,
            None => 3,
            Some(Verdict::Equal) => 4,
        }
    }

    fn line(&self, width: usize) -> String {
        let word = match self.through {
            _ if self.differs() => "DIFFERS",
            Some(verdict) => verdict.word(),
            None if self.begun => "running",
            None => "waiting",
        };
        let name = format!("{word:<9}{:<width$}", self.name);
        if !self.begun {
            return name.trim_end().to_owned();
        }
        let mut words = vec![format!("{} rows", grouped(self.seen()))];
        match (self.through, self.expected()) {
            (None, Some(expected)) if self.again > 0 => words.push(format!(
                "looking for the rows that differ {:.0} %",
                share(self.again, expected) * 100.0
            )),
            (None, Some(expected)) => words.push(format!("{:.0} %", share(self.seen(), expected) * 100.0)),
            (Some(_), _) | (None, None) => {}
        }
        if !self.keys.is_empty() {
            let more = self.differences - self.keys.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            words.push(format!("{}{more}", self.keys.join(", ")));
        }
        format!("{name}  {}", words.join("  "))
    }
}

fn share(rows: u64, expected: u64) -> f64 {
    if expected == 0 {
        0.0
    } else {
        (rows as f64 / expected as f64).clamp(0.0, 1.0)
    }
}

/// A time as clocks show it.
fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A number of rows in a second, short.
fn rate(each: f64) -> String {
    match each {
        each if each >= 999_500.0 => format!("{:.1} M rows/s", each / 1_000_000.0),
        each if each >= 10_000.0 => format!("{:.0} k rows/s", each / 1_000.0),
        each => format!("{each:.0} rows/s"),
    }
}

impl Meter {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, at: usize, change: impl FnOnce(&mut Part)) {
        if let Some(part) = self.parts().get_mut(at) {
            change(part);
        }
    }

    /// The tables that are compared, in their order.
    pub fn plan(&self, names: impl Iterator<Item = String>) {
        *self.parts() = names
            .map(|name| Part {
                name,
                ..Part::default()
            })
            .collect();
    }

    /// A table has begun.
    pub fn begin(&self, at: usize, estimate: Option<u64>) {
        self.part(at, |part| {
            part.begun = true;
            part.estimate = estimate;
        });
    }

    /// A part of a table was compared.
    pub fn add(&self, at: usize, rows: u64, unlike: u64, differences: &[Difference]) {
        self.part(at, |part| {
            (part.reading, part.again) = (0, 0);
            part.rows += rows;
            part.unlike += unlike;
            part.differences += differences.len();
            let room = KEYS.saturating_sub(part.keys.len());
            part.keys.extend(differences.iter().take(room).map(Difference::words));
        });
    }

    /// So many rows were read of a part that goes on.
    pub fn reading(&self, at: usize, rows: u64) {
        self.part(at, |part| part.reading = rows);
    }

    /// So many rows were read again, for those that differ.
    pub fn again(&self, at: usize, rows: u64) {
        self.part(at, |part| part.again = rows);
    }

    /// A share of a table's keys is behind it.
    pub fn reached(&self, at: usize, share: f64) {
        self.part(at, |part| part.reached = share.clamp(0.0, 1.0));
    }

    /// A table is through.
    pub fn through(&self, at: usize, verdict: Verdict) {
        self.part(at, |part| {
            part.begun = true;
            part.through = Some(verdict);
        });
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.parts().iter().map(Part::seen).sum()
    }

    /// Rows so far and as many as are expected: tables of which nothing is known yet count as the others on average.
    fn standing(&self) -> (u64, u64) {
        let parts = self.parts();
        let rows = parts.iter().map(Part::seen).sum();
        let known: Vec<u64> = parts.iter().filter_map(Part::expected).collect();
        let average = known.iter().sum::<u64>().checked_div(known.len() as u64);
        let each = |part: &Part| part.expected().unwrap_or(average.unwrap_or(0).max(part.seen()));
        (rows, parts.iter().map(each).sum())
    }

    /// The share of the rows that are expected, from 0 to 1.
    pub fn share(&self) -> f64 {
        // As long as nothing tells how large anything is, what was seen is no share of it.
        if self.parts().iter().all(|part| part.expected().is_none()) {
            return 0.0;
        }
        let (rows, expected) = self.standing();
        share(rows, expected)
    }

    /// Rows in a second, lately.
    fn lately(&self, since: Duration, rows: u64) -> f64 {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((since, rows));
        while samples.len() > 2
            && samples
                .get(1)
                .is_some_and(|(at, _)| since.saturating_sub(*at) >= LATELY)
        {
            samples.pop_front();
        }
        let (at, before) = samples.front().copied().unwrap_or_default();
        let took = since.saturating_sub(at).as_secs_f64();
        if took > 0.0 {
            rows.saturating_sub(before) as f64 / took
        } else {
            0.0
        }
    }

    /// How far it is, how fast it goes and how long it will take still, in a line; `since`: how long it has run.
    pub fn line(&self, since: Duration) -> String {
        let (rows, expected) = self.standing();
        let each = self.lately(since, rows);
        let (tables, through, unlike) = {
            let parts = self.parts();
            (
                parts.len(),
                parts.iter().filter(|part| part.through.is_some()).count(),
                parts.iter().filter(|part| part.differs()).count(),
            )
        };
        let mut words = Vec::new();
        match unlike {
            0 => {}
            1 => words.push("1 table DIFFERS".to_owned()),
            some => words.push(format!("{some} tables DIFFER")),
        }
        // What is cut off at the right of a narrow pane is what matters least.
        if each > 0.0 && expected > rows {
            let left = Duration::try_from_secs_f64((expected - rows) as f64 / each).unwrap_or(Duration::MAX);
            words.push(format!("eta {}", clock(left)));
        }
        words.push(rate(each));
        words.push(format!("{} rows", grouped(rows)));
        words.push(format!("{through}/{tables} tables"));
        words.join("  ")
    }

    /// A line for each table; what asks for people first.
    pub fn board(&self) -> Vec<String> {
        let mut parts = self.parts().clone();
        parts.sort_by_key(Part::order);
        let width = parts.iter().map(|part| part.name.chars().count()).max().unwrap_or(0);
        parts.iter().map(|part| part.line(width.min(24))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::sql::compare::outcome::Change;
    use serde_json::{Map, json};

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn rate_and_eta_are_of_what_was_lately() {
        let meter = Meter::default();
        meter.plan(["t".to_owned()].into_iter());
        meter.begin(0, Some(100_000_000));
        assert_eq!(meter.line(second(0)), "0 rows/s  0 rows  0/1 tables");
        meter.add(0, 20_000_000, 0, &[]);
        assert_eq!(
            meter.line(second(10)),
            "eta 00:40  2.0 M rows/s  20,000,000 rows  0/1 tables"
        );
        // It has become slower, and what was before does not count for ever.
        meter.add(0, 400_000, 0, &[]);
        assert_eq!(
            meter.line(second(20)),
            "eta 33:10  40 k rows/s  20,400,000 rows  0/1 tables"
        );
        meter.through(0, Verdict::Equal);
        assert_eq!(meter.share(), 1.0);
    }

    #[test]
    fn it_moves_also_where_the_engine_knows_nothing_or_too_little() {
        let meter = Meter::default();
        meter.plan(["a", "b"].map(str::to_owned).into_iter());
        meter.begin(0, None);
        meter.add(0, 100, 0, &[]);
        meter.reached(0, 0.25);
        let other = Meter::default();
        other.plan(std::iter::once("a".to_owned()));
        other.begin(0, None);
        other.add(0, 100, 0, &[]);
        assert_eq!(other.share(), 0.0);
        // The other is taken for one like it.
        assert_eq!(meter.share(), 0.125);
        meter.begin(1, Some(100));
        meter.add(1, 300, 0, &[]);
        meter.reached(1, 0.5);
        assert_eq!(meter.share(), 0.4);
        meter.reading(1, 100);
        assert_eq!(meter.rows(), 500);
        meter.again(1, 300);
        assert_eq!(
            meter.board()[1],
            "running  b  400 rows  looking for the rows that differ 50 %"
        );
        meter.add(1, 300, 0, &[]);
        assert_eq!(meter.rows(), 700);
    }

    #[test]
    fn what_differs_comes_first_with_its_keys() {
        let meter = Meter::default();
        meter.plan(["customers", "orders", "ledger"].map(str::to_owned).into_iter());
        meter.begin(0, Some(200));
        meter.add(0, 200, 0, &[]);
        meter.through(0, Verdict::Equal);
        meter.begin(1, Some(2_000));
        let found: Vec<Difference> = (1..=7)
            .map(|key| Difference {
                key: vec![json!(key)],
                kind: Change::Changed,
                columns: Vec::new(),
                times: None,
                values: Map::new(),
            })
            .collect();
        meter.add(1, 1_000, 1, &found);
        assert_eq!(
            meter.board(),
            [
                "DIFFERS  orders     1,000 rows  50 %  changed 1, changed 2, changed 3, changed 4, changed 5 and 2 more",
                "waiting  ledger",
                "equal    customers  200 rows",
            ]
        );
        assert!(meter.line(second(1)).starts_with("1 table DIFFERS  "));
    }
}
