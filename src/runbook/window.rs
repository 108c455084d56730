//! The agreed window of an environment: its instants, its zone, what happens when it closes over a run, who may extend
//! it; and the deadlines of steps, which are times of day in it.

use chrono::{DateTime, Days, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::builder::Builder;
use super::fault::nearest;
use super::gate::operator;
use super::node::{Node, known_keys};
use super::plan::{Plan, PlannedStep, Window, WindowEnd};
use super::step::is_open;

const KEYS: &[&str] = &["opens", "closes", "timezone", "business_opens", "at_end", "extend"];
/// No clock was ever set forward by more than a day.
const LONGEST_GAP: i64 = 24 * 60;

impl Builder<'_> {
    pub(super) fn window(&mut self, node: &Node) -> Option<Window> {
        let entries = node.map("window", &mut self.faults);
        known_keys(entries, KEYS, "a window", &mut self.faults);
        let zone = node.get("timezone").and_then(|node| {
            let name = node.word("timezone", &mut self.faults)?.to_owned();
            if name.parse::<Tz>().is_err() {
                let near = nearest(&name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
                let hint = near.unwrap_or_else(|| "write an IANA name: America/Sao_Paulo".to_owned());
                self.fault(node.at, format!("the time zone \"{name}\" is not known"), &hint);
            }
            Some(name)
        });
        let at_end = self.at_end(node.get("at_end"));
        let extend = node.get("extend").map(|node| {
            let gate = self.gate(Some(node), "extend", operator(Some("extend".to_owned())), false);
            if is_open(&gate.kind) {
                return operator(Some("extend".to_owned()));
            }
            gate
        });
        let (Some(opens), Some(closes)) = (node.get("opens"), node.get("closes")) else {
            self.fault(node.at, "a window needs opens and closes", "write both as instants");
            return None;
        };
        let business = node
            .get("business_opens")
            .and_then(|node| self.instant(node, "business_opens"));
        let (from, to) = (self.instant(opens, "opens")?, self.instant(closes, "closes")?);
        if to <= from {
            self.fault(
                closes.at,
                "the window closes before it opens",
                "swap the instants or mend the offset",
            );
        } else if to <= self.now {
            self.fault(
                closes.at,
                format!("the window is over since {}", to.to_rfc3339()),
                "agree on a new window",
            );
        }
        Some(Window {
            opens: from,
            closes: to,
            timezone: zone,
            business_opens: business,
            at_end,
            extend,
        })
    }

    fn at_end(&mut self, node: Option<&Node>) -> WindowEnd {
        match node.map(|node| (node.at, node.word("at_end", &mut self.faults))) {
            None | Some((_, Some("ask") | None)) => WindowEnd::Ask,
            Some((_, Some("hold"))) => WindowEnd::Hold,
            Some((_, Some("notify"))) => WindowEnd::Notify,
            Some((at, Some(other))) => {
                let hint =
                    nearest(other, ["ask", "hold", "notify"]).unwrap_or_else(|| "write ask, hold or notify".to_owned());
                self.fault(at, format!("at the window's end nothing is called \"{other}\""), &hint);
                WindowEnd::Ask
            }
        }
    }

    /// Warns of deadlines that cannot be overdue, or only when it is too late.
    pub(super) fn deadlines_hold(&mut self, plan: &Plan) {
        for (id, at) in std::mem::take(&mut self.deadlines) {
            let Some(step) = plan.steps.iter().find(|step| step.id == id) else {
                continue;
            };
            let Some(window) = &plan.environment.window else {
                let message = format!("the deadline of step {id} cannot be overdue: there is no window");
                let hint = format!("environment {} has none; give it a window", plan.environment.name);
                self.warn(at, message, &hint);
                continue;
            };
            if window.timezone.is_none() {
                let message = format!("the window names no zone: the deadline of step {id} is read in UTC");
                self.warn(at, message, "add timezone: America/Sao_Paulo to the window");
            }
            if let Some(due) = plan.deadline(step)
                && due > window.closes
            {
                let message = format!(
                    "the deadline of step {id} is {}, after the window closes",
                    due.to_rfc3339()
                );
                self.warn(at, message, "write an earlier time of day, or move the window");
            }
        }
    }
}

impl Plan {
    /// When a step is overdue: the first time after the window opens that a clock in the window's zone shows its
    /// deadline. A time of day that the clock skips is the first that it shows afterwards, one that it shows twice is
    /// the first of both. None without a deadline or a window. A window without a zone is read in UTC.
    pub fn deadline(&self, step: &PlannedStep) -> Option<DateTime<Utc>> {
        let window = self.environment.window.as_ref()?;
        let time = NaiveTime::parse_from_str(step.deadline.as_deref()?, "%H:%M").ok()?;
        let zone = match &window.timezone {
            Some(name) => name.parse().ok()?,
            None => Tz::UTC,
        };
        let opened = window.opens.with_timezone(&zone).date_naive();
        // The day before too: what the clock skips at midnight is shown on the next day only.
        let days = opened
            .pred_opt()
            .into_iter()
            .chain((0..3).filter_map(|days| opened.checked_add_days(Days::new(days))));
        days.flat_map(|day| shown(zone, day.and_time(time)))
            .find(|due| *due > window.opens)
    }
}

/// When a clock in `zone` shows `local`, in order.
fn shown(zone: Tz, local: NaiveDateTime) -> Vec<DateTime<Utc>> {
    let mut minutes = 0..=LONGEST_GAP;
    let found = minutes.find_map(|minutes| {
        let local = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        match zone.from_local_datetime(&local) {
            LocalResult::Single(one) => Some(vec![one]),
            LocalResult::Ambiguous(first, second) => Some(vec![first, second]),
            LocalResult::None => None,
        }
    });
    let found = found.unwrap_or_default();
    found.into_iter().map(|due| due.with_timezone(&Utc)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The deadline of a plan whose window opens at `opens` in `zone`, as UTC.
    #[track_caller]
    fn due(zone: &str, opens: &str, deadline: &str) -> String {
        let text = format!(
            "version: 1\nname: d\nenvironments:\n  lab:\n    kind: lab\n    window: {{ opens: {opens}, closes: 2999-01-01T00:00:00Z, timezone: {zone} }}\nphases:\n  - id: p\n    steps:\n      - {{ id: s, uses: manual.task, with: {{ text: x }}, deadline: \"{deadline}\" }}\n"
        );
        let now = DateTime::parse_from_rfc3339("2018-01-01T00:00:00Z")
            .unwrap()
            .with_timezone(&Utc);
        let catalogue = crate::runbook::catalogue::Catalogue { actions: &[MANUAL] };
        let plan = crate::runbook::plan(text.as_bytes(), "lab", &catalogue, now).unwrap();
        plan.deadline(&plan.steps[0]).unwrap().to_rfc3339()
    }

    const MANUAL: &[crate::runbook::catalogue::ActionSpec] = &[crate::runbook::catalogue::ActionSpec {
        uses: "manual.task",
        doc: "",
        effect: crate::runbook::catalogue::Effect::Human,
        reversibility: crate::runbook::catalogue::Reversibility::Nothing,
        on: &[],
        params: &[crate::runbook::catalogue::ParamSpec::new(
            "text",
            crate::runbook::catalogue::ParamKind::Text,
            true,
            "",
        )],
        results: &[],
        available: true,
    }];

    #[test]
    fn a_deadline_is_the_first_such_time_after_the_window_opens() {
        let sao_paulo = |opens, deadline| due("America/Sao_Paulo", opens, deadline);
        assert_eq!(
            sao_paulo("2026-12-05T22:00:00-03:00", "22:20"),
            "2026-12-06T01:20:00+00:00"
        );
        // Over midnight, and never at the opening itself.
        assert_eq!(
            sao_paulo("2026-12-05T22:00:00-03:00", "01:00"),
            "2026-12-06T04:00:00+00:00"
        );
        assert_eq!(
            sao_paulo("2026-12-05T22:00:00-03:00", "22:00"),
            "2026-12-07T01:00:00+00:00"
        );
    }

    #[test]
    fn a_time_that_the_clock_skips_is_the_first_one_after_the_gap() {
        // Brazil went from 00:00 to 01:00 on 4 November 2018.
        assert_eq!(
            due("America/Sao_Paulo", "2018-11-03T22:00:00-03:00", "00:30"),
            "2018-11-04T03:00:00+00:00"
        );
        assert_eq!(
            due("Europe/Berlin", "2026-03-28T22:00:00+01:00", "02:30"),
            "2026-03-29T01:00:00+00:00"
        );
        assert_eq!(
            due("Europe/Berlin", "2026-03-28T22:00:00+01:00", "03:30"),
            "2026-03-29T01:30:00+00:00"
        );
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_is_the_first_of_both() {
        // Brazil went back from 00:00 to 23:00 on 16 February 2019.
        assert_eq!(
            due("America/Sao_Paulo", "2019-02-16T22:00:00-02:00", "23:30"),
            "2019-02-17T01:30:00+00:00"
        );
        assert_eq!(
            due("Europe/Berlin", "2026-10-24T22:00:00+02:00", "02:30"),
            "2026-10-25T00:30:00+00:00"
        );
        // Opened between both, only the second is after it.
        assert_eq!(
            due("Europe/Berlin", "2026-10-25T02:45:00+02:00", "02:30"),
            "2026-10-25T01:30:00+00:00"
        );
    }
}
