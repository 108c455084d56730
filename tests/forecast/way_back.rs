//! The last safe rollback by hand: the least of three limits, what is subtracted, and the warnings.

use std::sync::Arc;

use chrono::TimeDelta;
use pointsman::frontend::headless::RollbackWatch;
use pointsman::projection::estimate::UndoBasis;
use pointsman::projection::samples::History;
use pointsman::projection::timing_words;
use pointsman::projection::way_back::{Limit, Nearness, Safe};
use pointsman::run::Event;
use pointsman::run::event::{OutcomeResult, Role};
use pointsman::runbook::plan::Plan;

use crate::night::{Run, at, forecaster, id, minutes, plan_in};

const KEYS: (&str, &str) = (
    "    downtime_budget: 45m\n",
    "    downtime_budget: 45m\n    log_retention: 3h\n    reverse_drain: 10m\n    validation: 15m\n",
);
const EARLY: (&str, &str) = (
    "business_opens: 2096-12-06T06:00:00-03:00",
    "business_opens: 2096-12-06T00:30:00-03:00",
);
const NO_WINDOW: (&str, &str) = (
    "    window: { opens: 2096-12-05T22:00:00-03:00, closes: 2096-12-06T02:00:00-03:00, timezone: America/Sao_Paulo, business_opens: 2096-12-06T06:00:00-03:00 }\n",
    "",
);

/// `start` begun at minute 5 and done at 10, `right1` done at 30.
fn underway(pieces: &[(&str, &str)]) -> Run {
    let mut run = Run::real(&plan_in("staging", pieces));
    let done = run.step(0, "start", 300, 300);
    run.step(done, "right1", 0, 1200);
    run
}

#[test]
fn the_least_of_the_three_limits_counts() {
    let history = History::default();
    // `dms.stop` by its own timeout 3 min, `right1` as long as the step: 20 min.
    let back = underway(&[]).forecast(&history, 1800).way_back;
    let order: Vec<(&str, TimeDelta, UndoBasis)> = back
        .undos
        .iter()
        .map(|undo| (undo.step.0.as_str(), undo.takes, undo.basis))
        .collect();
    assert_eq!(
        order,
        [
            ("right1", minutes(20), UndoBasis::Expect),
            ("start", minutes(3), UndoBasis::Timeout)
        ]
    );
    assert!(back.is_guess() && !back.at_least());
    let until = |at, limit| Safe::Until { at, limit };
    assert_eq!(back.safe, until(at((240 - 23) * 60), Limit::WindowEnd));
    // Ten minutes of draining and fifteen of looking come off; the log is kept for three hours from minute 5.
    let back = underway(&[KEYS]).forecast(&history, 1800).way_back;
    assert_eq!(back.safe, until(at((185 - 23 - 25) * 60), Limit::LogRetention));
    let back = underway(&[KEYS, EARLY]).forecast(&history, 1800).way_back;
    assert_eq!(back.safe, until(at((150 - 23 - 25) * 60), Limit::BusinessOpening));
    let back = underway(&[NO_WINDOW, KEYS, ("        deadline: \"23:30\"\n", "")])
        .forecast(&history, 1800)
        .way_back;
    assert_eq!(back.safe, until(at((185 - 23 - 25) * 60), Limit::LogRetention));
    let back = underway(&[NO_WINDOW, ("        deadline: \"23:30\"\n", "")])
        .forecast(&history, 1800)
        .way_back;
    assert_eq!(back.safe, Safe::NoLimit);
    assert_eq!(back.unwinding, minutes(23), "how long it takes is known all the same");
}

#[test]
fn a_plan_without_the_keys_is_written_as_before() {
    let written = |pieces: &[(&str, &str)]| serde_json::to_string(&plan_in("staging", pieces)).unwrap();
    for key in ["log_retention", "reverse_drain", "validation"] {
        assert!(
            !written(&[]).contains(key),
            "{key} would change the digests of plans that do not say it"
        );
        assert!(written(&[KEYS]).contains(key));
    }
    let plan = plan_in("staging", &[KEYS]);
    let again: Plan = serde_json::from_str(&written(&[KEYS])).unwrap();
    assert_eq!(again, plan);
}

#[test]
fn what_does_not_stand_is_not_taken_back() {
    let history = History::default();
    let plan = plan_in("staging", &[]);
    let back = Run::real(&plan).forecast(&history, 60).way_back;
    assert_eq!(back.safe, Safe::NothingStands);
    // While it runs it may have happened: it would have to be undone.
    let mut run = Run::real(&plan);
    run.checking(0, "start", 1);
    run.asked(0, "start", 1);
    assert_eq!(run.forecast(&history, 10).way_back.safe, Safe::NothingStands);
    run.begun(60, "start", 1, Role::Do);
    assert_eq!(run.forecast(&history, 70).way_back.latest(), Some(at((240 - 3) * 60)));
    let mut run = underway(&[(
        "{ uses: sql.exec, on: target, with: { sql: insert into b values (1) } }",
        "{ irreversible: gone }",
    )]);
    assert_eq!(run.forecast(&history, 1800).way_back.safe, Safe::Never(id("right1")));
    run.close(1900);
    assert_eq!(run.forecast(&history, 2000).way_back.safe, Safe::NothingStands);
}

#[test]
fn an_undo_without_any_number_is_at_least_and_an_abandoned_step_shows_its_redo() {
    let history = History::default();
    let mut run = underway(&[(
        "        needs: [start]\n        expect: 20m\n",
        "        needs: [start]\n",
    )]);
    let back = run.forecast(&history, 1800).way_back;
    assert!(back.at_least());
    assert_eq!(back.unwinding, minutes(3));
    let words = timing_words::safe(&run.plan, &back, at(1800), chrono_tz::America::Sao_Paulo);
    assert_eq!(words, "last safe rollback no later than 01:57 (in 3:27:00)");
    let done = run.step(1800, "left", 0, 60);
    let done = run.step(done, "right2", 0, 60);
    run.step(done, "join", 0, 60);
    let back = run.forecast(&history, done + 60).way_back;
    assert_eq!((back.redo, back.unwinding), (minutes(180), minutes(5)));
    assert_eq!(back.undos[0].step, id("join"));
}

#[test]
fn earlier_undos_replace_the_guess() {
    let mut history = History::default();
    for seconds in [30, 60, 90] {
        let mut run = underway(&[]);
        let order = vec![id("right1"), id("start")];
        let person = "olga".to_owned();
        run.tell(
            2000,
            Event::UnwindPlanned {
                to: None,
                steps: order,
                past_no_return: false,
                person,
                derived: false,
            },
        );
        run.begun(2000, "right1", 1, Role::Undo);
        run.outcome(2000 + seconds, "right1", 1, Role::Undo, OutcomeResult::Done);
        // One that failed first says nothing, however it ended.
        run.begun(3000, "start", 1, Role::Undo);
        run.outcome(3010, "start", 1, Role::Undo, OutcomeResult::Failed);
        run.begun(4000, "start", 1, Role::Undo);
        run.outcome(4010, "start", 1, Role::Undo, OutcomeResult::Done);
        let plan = run.plan.clone();
        run.teach(&mut history, &plan).unwrap();
    }
    let back = underway(&[]).forecast(&history, 1800).way_back;
    assert_eq!(
        (back.undos[0].takes, back.undos[0].basis),
        (TimeDelta::seconds(90), UndoBasis::Earlier(3))
    );
    assert_eq!(
        (back.undos[1].takes, back.undos[1].basis),
        (minutes(3), UndoBasis::Timeout)
    );
}

#[test]
fn an_undo_under_way_is_counted_by_what_is_left_of_it() {
    let mut run = underway(&[]);
    let order = vec![id("right1"), id("start")];
    let person = "olga".to_owned();
    run.tell(
        2000,
        Event::UnwindPlanned {
            to: None,
            steps: order,
            past_no_return: false,
            person,
            derived: false,
        },
    );
    run.begun(2000, "right1", 1, Role::Undo);
    let history = History::default();
    assert_eq!(run.forecast(&history, 2000 + 600).way_back.unwinding, minutes(13));
    run.outcome(2700, "right1", 1, Role::Undo, OutcomeResult::Done);
    assert_eq!(run.forecast(&history, 2700).way_back.unwinding, minutes(3));
}

#[test]
fn it_is_warned_about_at_fifteen_five_and_no_minutes() {
    let run = underway(&[]);
    let history = History::default();
    let latest = (240 - 23) * 60;
    let zone = chrono_tz::America::Sao_Paulo;
    let near = |before: i64| {
        run.forecast(&history, latest - before)
            .way_back
            .nearness(at(latest - before))
    };
    assert_eq!(near(15 * 60 + 1), Nearness::Far);
    assert_eq!(near(15 * 60), Nearness::Within15);
    assert_eq!(near(5 * 60 + 1), Nearness::Within15);
    assert_eq!(near(5 * 60), Nearness::Within5);
    assert_eq!(near(1), Nearness::Within5);
    assert_eq!(near(0), Nearness::Passed);
    let back = run.forecast(&history, 1800).way_back;
    let next = |seconds: i64| back.next_warning(at(seconds));
    assert_eq!(next(1800), Some(at(latest - 900)));
    assert_eq!(next(latest - 900), Some(at(latest - 300)));
    assert_eq!(next(latest - 300), Some(at(latest)));
    assert_eq!(next(latest), None);
    let words = |seconds: i64| timing_words::warning(&run.plan, &back, at(seconds), zone);
    assert_eq!(words(1800), None);
    let told = words(latest - 240).unwrap();
    assert!(
        told.starts_with("last safe rollback about 01:37 (in 04:00) LAST CALL"),
        "{told}"
    );
    assert!(words(latest + 60).unwrap().contains("(01:00 ago) PASSED"));
}

#[test]
fn a_headless_run_is_told_each_threshold_once() {
    let run = underway(&[]);
    let latest = (240 - 23) * 60;
    let mut watch = RollbackWatch::new(Arc::default(), 1.0, chrono_tz::America::Sao_Paulo);
    let mut told = Vec::new();
    for seconds in [
        1800,
        latest - 901,
        latest - 900,
        latest - 899,
        latest - 300,
        latest - 10,
        latest,
        latest + 60,
    ] {
        let said = watch.look(&run.plan, &run.state, &run.story, at(seconds));
        told.extend(said.map(|text| (seconds - latest, text)));
    }
    let when: Vec<i64> = told.iter().map(|(when, _)| *when).collect();
    assert_eq!(when, [-900, -300, 0]);
    for ((_, text), word) in told.iter().zip(["SOON", "LAST CALL", "PASSED"]) {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(watch.next(), None);
}

#[test]
fn before_the_night_every_point_has_its_way_back() {
    let plan = plan_in("staging", &[KEYS]);
    let history = History::default();
    let forecaster = forecaster(&plan, &history);
    let points = forecaster.points(&forecaster.before(at(0)));
    let told: Vec<(&str, i64, Option<i64>)> = points
        .iter()
        .map(|point| {
            let margin = point.margin.map(|margin| margin.num_minutes());
            (point.step.0.as_str(), point.way_back.unwinding.num_minutes(), margin)
        })
        .collect();
    // The log is needed from the intent at minute 0 to 180; 25 minutes come off.
    assert_eq!(
        told,
        [
            ("start", 3, Some(180 - 25 - 3 - 10)),
            ("right1", 23, Some(180 - 25 - 23 - 30)),
            ("left", 23, Some(180 - 25 - 23 - 40)),
            ("right2", 23, Some(180 - 25 - 23 - 45)),
            ("join", 25, Some(180 - 25 - 25 - 50)),
        ]
    );
    let joined = &points[4].way_back;
    let order: Vec<&str> = joined.undos.iter().map(|undo| undo.step.0.as_str()).collect();
    assert_eq!(order, ["join", "right1", "start"]);
}
