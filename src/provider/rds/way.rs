//! How far a database is on its way to settings that were asked for: what was meant and what was before are compared with
//! what is. Owns the judgement; sends nothing.

use super::database::{Database, Settings};

/// States that do not become `available` by themselves.
const STUCK: &[&str] = &[
    "failed",
    "storage-full",
    "stopped",
    "deleting",
    "incompatible-network",
    "incompatible-option-group",
    "incompatible-parameters",
    "incompatible-restore",
    "incompatible-create",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "insufficient-capacity",
    "restore-error",
];

/// Whether a state needs hands.
pub fn is_stuck(status: &str) -> bool {
    STUCK.contains(&status)
}

/// How far a database is on its way.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    There,
    /// Ours, and not there yet.
    Going,
    /// Some of it is there, nothing is pending and nothing moves.
    Partly,
    /// As it was before.
    Before,
    /// At something else that may be anybody's.
    Busy,
    /// Somebody else's, or in a state that needs hands.
    Foreign(String),
}

/// Where a database is on the way `to` settings, where it is known what was before.
pub fn way(to: &Settings, now: &Database, prior: Option<&Settings>) -> Way {
    let current = now.settings.within(to);
    let wanted = to.each();
    let foreign = |words: String| Way::Foreign(format!("{}: {words}", now.name));
    let pending = now.pending.each();
    if pending.iter().any(|change| !wanted.contains(change)) || now.pending_others {
        return foreign("changes are pending that nobody here asked for".to_owned());
    }
    let prior = prior.map(|prior| prior.or(to));
    let before = prior.as_ref().map(Settings::each).unwrap_or_default();
    if prior.is_some()
        && let Some((name, value)) = current
            .each()
            .iter()
            .find(|setting| !wanted.contains(setting) && !before.contains(setting))
    {
        return foreign(format!("{name} is {value}, neither as before nor as meant"));
    }
    if is_stuck(&now.status) {
        return foreign(format!("it is {}", now.status));
    }
    if current == *to && now.is_settled() {
        return Way::There;
    }
    // A change that is asked for shows as pending at once.
    if !pending.is_empty() || now.status == "modifying" {
        return Way::Going;
    }
    if prior.is_some_and(|prior| current != prior) {
        return if now.status == "available" {
            Way::Partly
        } else {
            Way::Going
        };
    }
    match now.status.as_str() {
        "available" => Way::Before,
        _ => Way::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(database: &Database, prior: &Settings) -> Way {
        way(&settings(Some("big"), Some(7)), database, Some(prior))
    }

    fn settings(class: Option<&str>, days: Option<i32>) -> Settings {
        Settings {
            class: class.map(str::to_owned),
            multi_az: None,
            backup_retention: days,
        }
    }

    fn now(settings: Settings, pending: Settings, status: &str) -> Database {
        Database {
            status: status.to_owned(),
            settings,
            pending,
            ..Database::default()
        }
    }

    #[test]
    fn a_database_is_there_only_with_every_value_and_nothing_pending() {
        let prior = settings(Some("small"), Some(1));
        let (big, none) = (settings(Some("big"), Some(7)), Settings::default);
        let cases = [
            (now(big.clone(), none(), "available"), Way::There),
            (now(big.clone(), none(), "modifying"), Way::Going),
            (now(big.clone(), settings(Some("big"), None), "available"), Way::Going),
            (now(prior.clone(), none(), "available"), Way::Before),
            (now(prior.clone(), none(), "modifying"), Way::Going),
            (now(prior.clone(), none(), "rebooting"), Way::Busy),
            (now(prior.clone(), settings(Some("big"), None), "available"), Way::Going),
            (now(settings(Some("small"), Some(7)), none(), "available"), Way::Partly),
            (now(settings(Some("small"), Some(7)), none(), "modifying"), Way::Going),
            (now(settings(Some("small"), Some(7)), none(), "rebooting"), Way::Going),
        ];
        for (database, way) in cases {
            assert_eq!(judged(&database, &prior), way, "{database:?}");
        }
    }

    #[test]
    fn what_somebody_else_did_is_foreign() {
        let prior = settings(Some("small"), Some(1));
        let mut other = now(settings(Some("big"), Some(7)), Settings::default(), "available");
        other.pending_others = true;
        let cases = [
            now(settings(Some("huge"), Some(1)), Settings::default(), "available"),
            now(prior.clone(), settings(Some("huge"), None), "available"),
            now(prior.clone(), Settings::default(), "incompatible-parameters"),
            other,
        ];
        for database in cases {
            assert!(matches!(judged(&database, &prior), Way::Foreign(_)), "{database:?}");
        }
    }
}
