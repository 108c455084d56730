//! What the notes on the other host mean. Judges, and knows no connection.

use chrono::{DateTime, TimeDelta, Utc};

/// For how long the word to begin is taken, in seconds, and what clocks may differ by.
const OFFER: i64 = 60 + 5;
/// How much clocks of two hosts may differ before a start of the machine is told from the intent, in seconds.
const SKEW: i64 = 120;

/// How a command ended, as a shell reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub code: i32,
    /// In UTC by the other host's clock; nothing where nobody noted it.
    pub at: Option<String>,
    /// Something that it started still runs.
    pub left: bool,
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    NotStarted(String),
    /// `follow`: there is somebody who will note how it ends.
    Running {
        detail: String,
        follow: bool,
    },
    Ended {
        end: End,
        /// It had been asked to end before.
        asked: bool,
    },
    Unknown(String),
}

/// Where an attempt was begun, as the record says that its host named itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    boot: String,
    machine: String,
}

impl Home {
    /// From what the record says of a process group; nothing where that says nothing of its host.
    pub fn read(named: &str) -> Option<Self> {
        let (_, place) = named.rsplit_once(" (boot ")?;
        let (boot, machine) = place.strip_suffix(')')?.split_once(", machine ")?;
        Some(Self {
            boot: boot.to_owned(),
            machine: machine.to_owned(),
        })
    }
}

/// The words of `remote/look.sh`, `name=value` each.
struct Notes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Notes<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("-", |(_, value)| value)
    }

    fn is(&self, name: &str) -> bool {
        self.get(name) == "1"
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.get(name).split('.').next()?.parse().ok()
    }
}

/// What the words say of an attempt that was begun at `begun`, as far as the record has it, and whose intent was journaled
/// at the first of the times.
pub fn judge(
    program: &str,
    words: &str,
    begun: Option<&Home>,
    (intent_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Known {
    let notes = Notes(words.split(' ').filter_map(|word| word.split_once('=')).collect());
    let mut again = started_again(&notes, intent_at, now);
    if !notes.is("folder") {
        let differs = |of: fn(&Home) -> &str, name: &str| {
            let (then, now) = (begun.map(of)?, notes.get(name));
            (then != "-" && now != "-").then(|| then != now)
        };
        if differs(|home| &home.machine, "machine") == Some(true) {
            let words =
                format!("nothing is noted of {program}, but this is another machine than the one that was asked");
            return Known::Unknown(words);
        }
        // The same start of a machine is the same machine; its own word is better than a clock.
        again = differs(|home| &home.boot, "boot").or(again);
        if again == Some(true) {
            let words = format!("nothing is noted of {program}, but the host was started again since");
            return Known::Unknown(words);
        }
        return Known::NotStarted(format!(
            "{program} was never begun: no attempt of it is noted on the host"
        ));
    }
    if let Ok(code) = notes.get("status").parse() {
        let at = Some(notes.get("at")).filter(|at| *at != "-").map(str::to_owned);
        return Known::Ended {
            end: End {
                code,
                at,
                left: notes.is("group") && notes.get("unit") == "-",
            },
            asked: notes.is("asked"),
        };
    }
    let pid = notes.get("pid");
    if !notes.is("begun") {
        // That it was begun is noted just before, and a note so young may not have reached the disk.
        if again != Some(false) {
            let again = if again.is_some() { "" } else { " perhaps" };
            return Known::Unknown(format!(
                "{program} was offered, and nobody knows whether it was begun: the host was{again} started again since"
            ));
        }
        let age = notes
            .number("now")
            .zip(notes.number("since"))
            .map(|(now, since)| now - since);
        if notes.is("leader") && age.is_some_and(|age| (0..=OFFER).contains(&age)) {
            return Known::Running {
                detail: format!("{program} (process group {pid}) waits for the word to begin, and gives it up soon"),
                follow: false,
            };
        }
        return Known::NotStarted(format!("{program} was offered and not begun"));
    }
    let asked = if notes.is("asked") {
        "; it had been asked to end"
    } else {
        ""
    };
    match notes.get("unit") {
        "running" => {
            return Known::Running {
                detail: format!("{program} still runs as its unit"),
                follow: notes.is("keeper"),
            };
        }
        _ if notes.is("refused") => {
            let why = if asked.is_empty() {
                "systemd-run refused it"
            } else {
                "it was asked to end before"
            };
            return Known::NotStarted(format!("{program} was not begun: {why}"));
        }
        "gone" => {
            return Known::Unknown(format!(
                "the unit of {program} is gone, and nobody noted how it ended{asked}"
            ));
        }
        "mute" => {
            return Known::Unknown(format!(
                "the unit of {program} has ended, and its systemd does not know how{asked}"
            ));
        }
        "foreign" => return Known::Unknown(format!("the unit of {program} is another one by now{asked}")),
        "unasked" => {
            return Known::Unknown(format!(
                "systemd does not say what became of the unit of {program}; ask again{asked}"
            ));
        }
        _ => {}
    }
    if notes.is("keeper") {
        return Known::Running {
            detail: format!("{program} still runs on the host (process group {pid})"),
            follow: true,
        };
    }
    // A leader that lives is a group that lives, whatever was seen of the group.
    if notes.is("group") || notes.is("leader") {
        let who = if notes.is("leader") {
            "still runs on the host"
        } else {
            "has ended, but something that it started still runs"
        };
        return Known::Running {
            detail: format!(
                "{program} (process group {pid}) {who}; who was to note its end is gone: wait, or end that"
            ),
            follow: false,
        };
    }
    let restarted = if again == Some(true) {
        "; the host was started again since"
    } else {
        ""
    };
    Known::Unknown(format!(
        "{program} (process group {pid}) runs no more, and nobody noted how it ended{restarted}{asked}"
    ))
}

/// Whether the host was started again since the intent, where that can be known: what was noted just before a power failure
/// may not have reached the disk.
fn started_again(notes: &Notes<'_>, intent_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<bool> {
    if notes.is("same_boot") || notes.is("keeper") || notes.is("leader") {
        return Some(false);
    }
    if notes.get("same_boot") == "0" {
        return Some(true);
    }
    let up = notes.number("up").and_then(TimeDelta::try_seconds)?;
    let started = now.checked_sub_signed(up)?;
    Some(started + TimeDelta::seconds(SKEW) > intent_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &str) -> Known {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
        judge("sync", words, None, (now - TimeDelta::minutes(10), now))
    }

    #[test]
    fn where_nothing_is_noted_another_machine_and_another_boot_prove_nothing() {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
        let begun = Home {
            boot: "b1".to_owned(),
            machine: "m1".to_owned(),
        };
        let named = "process group 7 on root@db:22 (boot b1, machine m1)";
        assert_eq!(Home::read(named), Some(begun.clone()));
        let looked = |words: &str| judge("sync", words, Some(&begun), (now - TimeDelta::minutes(10), now));
        assert!(matches!(
            looked("folder=0 up=1.0 boot=b1 machine=m1"),
            Known::NotStarted(_)
        ));
        let other = looked("folder=0 up=86000.5 boot=b2 machine=m2");
        assert!(
            matches!(&other, Known::Unknown(words) if words.contains("another machine")),
            "{other:?}"
        );
        let again = looked("folder=0 up=86000.5 boot=b2 machine=m1");
        assert!(
            matches!(&again, Known::Unknown(words) if words.contains("started again")),
            "{again:?}"
        );
        // Who does not name itself is judged by its clock.
        assert!(matches!(
            looked("folder=0 up=86000.5 boot=- machine=-"),
            Known::NotStarted(_)
        ));
        assert!(matches!(looked("folder=0 up=1.0 boot=- machine=-"), Known::Unknown(_)));
        for named in ["db", "process group 7 on root@db:22", "x (boot b1)"] {
            assert_eq!(Home::read(named), None, "{named}");
        }
    }

    #[test]
    fn no_note_proves_that_nothing_was_begun_but_not_across_a_start_of_the_machine() {
        assert!(matches!(judged("folder=0 up=86000.52"), Known::NotStarted(_)));
        assert!(matches!(judged("folder=0 up=-"), Known::NotStarted(_)));
        for up in ["up=300.1", "up=700.9"] {
            let known = judged(&format!("folder=0 {up}"));
            assert!(
                matches!(&known, Known::Unknown(words) if words.contains("started again")),
                "{known:?}"
            );
        }
    }

    #[test]
    fn an_offer_is_open_for_a_minute_and_only_while_somebody_waits() {
        let offered = |leader: u8, since: u32| {
            judged(&format!(
                "folder=1 keeper=1 leader={leader} begun=0 same_boot=1 pid=7 since={since} now=1000"
            ))
        };
        assert!(matches!(offered(1, 960), Known::Running { follow: false, .. }));
        assert!(matches!(offered(0, 960), Known::NotStarted(_)));
        assert!(matches!(offered(1, 900), Known::NotStarted(_)));
        assert!(matches!(offered(1, 1010), Known::NotStarted(_)));
    }

    #[test]
    fn an_offer_is_not_said_to_be_none_across_a_start_of_the_machine() {
        let offered = |rest: &str| {
            judged(&format!(
                "folder=1 keeper=0 leader=0 begun=0 pid=7 since=1 now=1000 {rest}"
            ))
        };
        for again in ["same_boot=0 up=86000.5", "same_boot=- up=300.1", "same_boot=- up=-"] {
            let known = offered(again);
            assert!(
                matches!(&known, Known::Unknown(words) if words.contains("started again")),
                "{again}: {known:?}"
            );
        }
        for not_again in ["same_boot=1 up=300.1", "same_boot=- up=86000.5"] {
            assert!(matches!(offered(not_again), Known::NotStarted(_)), "{not_again}");
        }
    }

    #[test]
    fn a_unit_that_runs_was_not_refused_and_silence_of_systemd_says_nothing() {
        let unit = |rest: &str| judged(&format!("folder=1 begun=1 pid=7 same_boot=1 {rest}"));
        assert!(matches!(
            unit("keeper=0 refused=1 unit=running"),
            Known::Running { follow: false, .. }
        ));
        assert!(matches!(unit("keeper=0 refused=1 unit=gone"), Known::NotStarted(_)));
        let asked = unit("keeper=0 refused=1 asked=1 unit=gone");
        assert!(
            matches!(&asked, Known::NotStarted(words) if words.contains("asked to end before")),
            "{asked:?}"
        );
        for unclear in ["unasked", "mute"] {
            assert!(matches!(unit(&format!("keeper=1 unit={unclear}")), Known::Unknown(_)));
        }
    }

    #[test]
    fn what_has_begun_is_never_said_not_to_have() {
        let begun = |rest: &str| judged(&format!("folder=1 begun=1 pid=7 same_boot=1 {rest}"));
        assert!(matches!(
            begun("keeper=1 leader=1 group=1"),
            Known::Running { follow: true, .. }
        ));
        assert!(matches!(
            begun("keeper=0 leader=1 group=1"),
            Known::Running { follow: false, .. }
        ));
        assert!(matches!(
            begun("keeper=0 leader=1 group=0"),
            Known::Running { follow: false, .. }
        ));
        let left = begun("keeper=0 leader=0 group=1");
        assert!(
            matches!(&left, Known::Running { detail, .. } if detail.contains("that it started")),
            "{left:?}"
        );
        assert!(matches!(begun("keeper=0 leader=0 group=0"), Known::Unknown(_)));
        assert!(matches!(begun("keeper=0 unit=gone"), Known::Unknown(_)));
        assert!(matches!(begun("keeper=1 unit=foreign"), Known::Unknown(_)));
        assert!(matches!(
            begun("keeper=0 unit=running"),
            Known::Running { follow: false, .. }
        ));
        let end = |left| End {
            code: 0,
            at: Some("T".to_owned()),
            left,
        };
        let known = begun("keeper=0 group=1 status=0 at=T asked=1");
        assert_eq!(
            known,
            Known::Ended {
                end: end(true),
                asked: true
            }
        );
        let known = begun("keeper=1 group=1 status=0 at=T unit=running");
        assert_eq!(
            known,
            Known::Ended {
                end: end(false),
                asked: false
            }
        );
    }
}
