//! Who answers what, and what that means: the table that people see and evidence keeps. Pure; must not ask.

use serde_json::{Value, json};

use super::lookup::{Answer, Asked};
use super::records::RecordSet;
use super::servers::Kind;

/// What an answer means for the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the new one, and nothing older is kept for longer than the new TTL.
    New,
    /// It is what was before.
    Old,
    /// It is neither.
    Other,
    /// There was none: that is no agreement.
    Silent(String),
}

/// What the record is meant to be, and what it was.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    pub now: &'a [RecordSet],
    pub before: &'a [RecordSet],
}

/// What else is known of a server when its answer about an alias is judged: an alias answers with its target's values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// What the same server gives for the targets, where it knows them.
    pub targets: Option<&'a [String]>,
    /// What it gave for the record before it was changed.
    pub given: Option<&'a [String]>,
}

impl Meant<'_> {
    /// The targets of aliases that are meant.
    pub fn targets(&self) -> Vec<Asked> {
        let aliases = self.now.iter().filter_map(|set| Some((set, set.alias.as_ref()?)));
        let targets = aliases.map(|(set, alias)| Asked {
            name: alias.name.clone(),
            kind: set.kind.clone(),
        });
        targets.collect()
    }

    /// Whether what was before gave this answer by itself.
    fn gave(&self, answer: &Answer) -> bool {
        let mut plain = self.before.iter().filter(|set| set.alias.is_none());
        plain.any(|set| set.meaning() == answer.values)
    }

    /// Judges an answer.
    pub fn judge(&self, kind: Kind, answer: &Answer, known: Known<'_>) -> Verdict {
        let all_zero = self.now.iter().all(|set| set.weight == Some(0));
        let mut now = self.now.iter().filter(|set| set.weight != Some(0) || all_zero);
        let fits = |set: &RecordSet| match set.ttl {
            // An answer that the plain record gave before is no proof where nobody knows what the alias gives.
            None => follows(answer, known) && (known.targets.is_some() || !self.gave(answer)),
            Some(ttl) => {
                set.meaning() == answer.values
                    && match kind {
                        Kind::Authority => i64::from(answer.ttl) == ttl,
                        // What runs out within the new TTL does no more harm than the new one.
                        Kind::Resolver => i64::from(answer.ttl) <= ttl,
                    }
            }
        };
        if now.any(fits) || (self.now.is_empty() && answer.values.is_empty()) {
            return Verdict::New;
        }
        let old = self.gave(answer) || (!answer.values.is_empty() && known.given == Some(&answer.values));
        if old || (self.before.is_empty() && answer.values.is_empty()) {
            Verdict::Old
        } else {
            Verdict::Other
        }
    }
}

/// Whether an answer about an alias is the new one: all of it is what the same server gives for the target. Where that
/// server does not know the target, as those of AWS do not know a load balancer's name, it is not what it gave before.
fn follows(answer: &Answer, known: Known<'_>) -> bool {
    if answer.values.is_empty() {
        return false;
    }
    match (known.targets, known.given) {
        (Some(targets), _) => answer.values.iter().all(|value| targets.contains(value)),
        (None, Some(given)) => !answer.values.iter().any(|value| given.contains(value)),
        (None, None) => true,
    }
}

/// One server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub server: String,
    pub answer: Option<Answer>,
    pub verdict: Verdict,
}

impl Row {
    /// The seconds that a cache goes on giving what it gives.
    pub fn left(&self) -> Option<u32> {
        self.answer
            .as_ref()
            .filter(|_| self.kind == Kind::Resolver)
            .map(|answer| answer.ttl)
    }

    fn cells(&self) -> [String; 4] {
        let who = match self.kind {
            Kind::Authority => "authority",
            Kind::Resolver => "resolver",
        };
        let (answer, ttl) = match &self.answer {
            Some(answer) if answer.values.is_empty() => ("nothing".to_owned(), answer.ttl.to_string()),
            Some(answer) => (answer.values.join(", "), answer.ttl.to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        [format!("{who} {}", self.server), answer, ttl, self.words()]
    }

    /// The verdict in words.
    pub fn words(&self) -> String {
        let left = self.left().map(|left| format!(", {left} s left")).unwrap_or_default();
        match &self.verdict {
            Verdict::New => "new".to_owned(),
            Verdict::Old => format!("old{left}"),
            Verdict::Other => format!("other{left}"),
            Verdict::Silent(why) => format!("no answer: {why}"),
        }
    }

    fn json(&self) -> Value {
        let verdict = match &self.verdict {
            Verdict::New => "new",
            Verdict::Old => "old",
            Verdict::Other => "other",
            Verdict::Silent(_) => "no answer",
        };
        json!({
            "server": self.server,
            "kind": match self.kind { Kind::Authority => "authority", Kind::Resolver => "resolver" },
            "values": self.answer.as_ref().map(|answer| &answer.values),
            "ttl": self.answer.as_ref().map(|answer| answer.ttl),
            "verdict": verdict,
        })
    }
}

/// The rows as a table, its columns in line.
pub fn table(rows: &[Row]) -> Vec<String> {
    let head = ["server", "answer", "TTL left", "verdict"].map(str::to_owned);
    let lines: Vec<[String; 4]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (servers, answers, ttls) = (width(0), width(1), width(2));
    lines
        .iter()
        .map(|[server, answer, ttl, verdict]| format!("{server:servers$}  {answer:answers$}  {ttl:>ttls$}  {verdict}"))
        .collect()
}

/// The rows for the result of a step.
pub fn rows_json(rows: &[Row]) -> Value {
    Value::Array(rows.iter().map(Row::json).collect())
}

/// How many agree: `1 of 1 authoritative and 2 of 3 resolvers give the new answer`.
pub fn agreement(rows: &[Row]) -> String {
    let count = |kind: Kind| {
        let of_kind = rows.iter().filter(|row| row.kind == kind);
        let new = of_kind.clone().filter(|row| row.verdict == Verdict::New).count();
        (new, of_kind.count())
    };
    let (new, all) = count(Kind::Authority);
    let (resolvers_new, resolvers_all) = count(Kind::Resolver);
    let mut words = format!("{new} of {all} authoritative");
    if resolvers_all > 0 {
        words.push_str(&format!(" and {resolvers_new} of {resolvers_all} resolvers"));
    }
    format!("{words} give the new answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::dns::records::Alias;

    fn set(value: &str, ttl: i64, weight: Option<i64>) -> RecordSet {
        RecordSet {
            name: "a.test.".to_owned(),
            kind: "A".to_owned(),
            set_identifier: weight.map(|_| value.to_owned()),
            weight,
            ttl: Some(ttl),
            values: vec![value.to_owned()],
            alias: None,
        }
    }

    fn answer(value: &str, ttl: u32) -> Answer {
        Answer {
            values: vec![value.to_owned()],
            ttl,
            authoritative: false,
        }
    }

    #[test]
    fn a_cache_agrees_only_with_the_new_values_and_within_the_new_ttl() {
        let (before, now) = ([set("1.1.1.1", 300, None)], [set("2.2.2.2", 60, None)]);
        let flip = Meant {
            now: &now,
            before: &before,
        };
        let cases = [
            (Kind::Resolver, answer("2.2.2.2", 59), Verdict::New),
            (Kind::Resolver, answer("1.1.1.1", 7), Verdict::Old),
            (Kind::Resolver, answer("3.3.3.3", 7), Verdict::Other),
            (Kind::Resolver, Answer::default(), Verdict::Other),
            (Kind::Authority, answer("2.2.2.2", 60), Verdict::New),
            (Kind::Authority, answer("2.2.2.2", 300), Verdict::Other),
        ];
        for (kind, answer, verdict) in cases {
            assert_eq!(
                flip.judge(kind, &answer, Known::default()),
                verdict,
                "{kind:?} {answer:?}"
            );
        }
        let lowered = [set("1.1.1.1", 60, None)];
        let lower = Meant {
            now: &lowered,
            before: &before,
        };
        assert_eq!(
            lower.judge(Kind::Resolver, &answer("1.1.1.1", 61), Known::default()),
            Verdict::Old
        );
        assert_eq!(
            lower.judge(Kind::Resolver, &answer("1.1.1.1", 60), Known::default()),
            Verdict::New
        );
    }

    #[test]
    fn a_member_without_weight_is_not_new_unless_all_are() {
        let now = [set("1.1.1.1", 60, Some(0)), set("2.2.2.2", 60, Some(100))];
        let before = [set("1.1.1.1", 60, None)];
        let meant = Meant {
            now: &now,
            before: &before,
        };
        assert_eq!(
            meant.judge(Kind::Authority, &answer("1.1.1.1", 60), Known::default()),
            Verdict::Old
        );
        assert_eq!(
            meant.judge(Kind::Authority, &answer("2.2.2.2", 60), Known::default()),
            Verdict::New
        );
        let zero = [set("1.1.1.1", 60, Some(0)), set("2.2.2.2", 60, Some(0))];
        let meant = Meant {
            now: &zero,
            before: &before,
        };
        assert_eq!(
            meant.judge(Kind::Authority, &answer("1.1.1.1", 60), Known::default()),
            Verdict::New
        );
    }

    #[test]
    fn silence_is_said_and_never_counted() {
        let row = |kind, server: &str, verdict| Row {
            kind,
            server: server.to_owned(),
            answer: None,
            verdict,
        };
        let rows = [
            row(Kind::Authority, "a", Verdict::New),
            row(Kind::Resolver, "b", Verdict::Silent("refused".to_owned())),
        ];
        assert_eq!(
            agreement(&rows),
            "1 of 1 authoritative and 0 of 1 resolvers give the new answer"
        );
        let lines = table(&rows);
        assert!(lines[2].ends_with("no answer: refused"), "{lines:?}");
    }

    #[test]
    fn an_alias_gives_its_target_or_at_least_nothing_from_before() {
        let alias = RecordSet {
            ttl: None,
            values: Vec::new(),
            alias: Some(Alias {
                name: "lb.test.".to_owned(),
                zone: "Z2".to_owned(),
                evaluate_target_health: false,
            }),
            ..set("1.1.1.1", 60, None)
        };
        let (before, now) = ([set("1.1.1.1", 60, None)], [alias]);
        let meant = Meant {
            now: &now,
            before: &before,
        };
        let texts = |values: &[&str]| -> Vec<String> { values.iter().map(|value| (*value).to_owned()).collect() };
        let (new, old) = (texts(&["2.2.2.2", "3.3.3.3"]), texts(&["1.1.1.1"]));
        let cases = [
            ("2.2.2.2", Some(&new), Some(&old), Verdict::New),
            ("4.4.4.4", Some(&new), Some(&old), Verdict::Other),
            ("1.1.1.1", Some(&new), Some(&old), Verdict::Old),
            // The server does not know the target.
            ("2.2.2.2", None, Some(&old), Verdict::New),
            ("1.1.1.1", None, Some(&old), Verdict::Old),
            ("2.2.2.2", None, None, Verdict::New),
        ];
        for (value, targets, given, verdict) in cases {
            let known = Known {
                targets: targets.map(Vec::as_slice),
                given: given.map(Vec::as_slice),
            };
            assert_eq!(
                meant.judge(Kind::Authority, &answer(value, 60), known),
                verdict,
                "{value} {known:?}"
            );
        }
        let nothing = meant.judge(Kind::Authority, &Answer::default(), Known::default());
        assert_eq!(nothing, Verdict::Other, "nothing is no agreement");
        assert_eq!(meant.targets()[0].name, "lb.test.");
    }
}
