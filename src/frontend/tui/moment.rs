//! Times as people type them: `HH:MM`, or with a date before it, in a zone. Pure; the clock is passed in.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// The first instant after `after` that `text` names in `zone`; with a date, the instant that it names.
pub fn moment(text: &str, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match text.trim().split_once(' ') {
        Some((date, time)) => {
            let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
            instant(date.and_time(time_of_day(time.trim())?), zone)
        }
        None => {
            let time = time_of_day(text.trim())?;
            let today = after.with_timezone(&zone).date_naive();
            (0..=2)
                .filter_map(|days| today.checked_add_days(Days::new(days)))
                .filter_map(|date| instant(date.and_time(time), zone))
                .find(|at| *at > after)
        }
    }
}

/// How a moment is said back, so that the day cannot be mistaken.
pub fn said(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string()
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").ok()
}

/// None where a clock change leaves the time out; the earlier one where it is there twice.
fn instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    zone.from_local_datetime(&local)
        .earliest()
        .map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after() -> DateTime<Utc> {
        DateTime::from_timestamp(1_796_508_000, 0).unwrap_or_default()
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let zone = chrono_tz::America::Sao_Paulo;
        assert_eq!(said(after(), zone), "2026-12-05 19:00");
        for (typed, meant) in [
            ("19:01", "2026-12-05 19:01"),
            ("19:00", "2026-12-06 19:00"),
            ("02:00", "2026-12-06 02:00"),
            ("2026-12-07 02:00", "2026-12-07 02:00"),
            ("2026-12-01 02:00", "2026-12-01 02:00"),
        ] {
            let found = moment(typed, zone, after()).map(|at| said(at, zone));
            assert_eq!(found.as_deref(), Some(meant), "{typed}");
        }
        for typed in ["", "25:00", "7", "later", "2026-13-01 02:00", "02:00:00"] {
            assert_eq!(moment(typed, zone, after()), None, "{typed}");
        }
    }

    #[test]
    fn a_time_that_a_clock_change_leaves_out_is_the_next_day_s() {
        let zone = chrono_tz::Europe::Berlin;
        let after: DateTime<Utc> = "2027-03-27T23:30:00Z".parse().unwrap_or_default();
        let found = moment("02:30", zone, after).map(|at| said(at, zone));
        assert_eq!(found.as_deref(), Some("2027-03-29 02:30"));
    }
}
