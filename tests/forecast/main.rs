//! Forecasts with numbers worked out by hand: what counts as a sample, the critical path of two branches, a step over
//! its estimate, the last safe rollback, and the verb that reads earlier runs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cli;
mod night;
mod way_back;

use chrono::TimeDelta;
use pointsman::projection::estimate::{Basis, Estimate, Quantiles};
use pointsman::projection::forecast::{Course, Heading};
use pointsman::projection::samples::{History, Unfit, nearest_rank};
use pointsman::projection::timing_words;
use pointsman::run::Event;
use pointsman::run::event::{OutcomeResult, Role};
use pointsman::runbook::plan::{Plan, PlannedStep, Span};
use proptest::prelude::*;
use serde_json::json;

use night::{Run, at, forecaster, id, minutes, plan_in};

fn step<'a>(plan: &'a Plan, id: &str) -> &'a PlannedStep {
    plan.steps.iter().find(|step| step.id == id).unwrap()
}

/// Three runs in which `start` waited for 60, 120, 600 s and worked for 300, 420, 900 s.
fn taught(plan: &Plan) -> History {
    let mut history = History::default();
    for (human, machine) in [(60, 300), (120, 420), (600, 900)] {
        let mut run = Run::real(plan);
        run.step(0, "start", human, machine);
        run.teach(&mut history, plan).unwrap();
    }
    history
}

#[test]
fn percentiles_are_nearest_rank() {
    let values: Vec<TimeDelta> = (1..=10).map(minutes).collect();
    assert_eq!(nearest_rank(&values, 50), Some(minutes(5)));
    assert_eq!(nearest_rank(&values, 90), Some(minutes(9)));
    let values: Vec<TimeDelta> = (1..=11).map(minutes).collect();
    assert_eq!(nearest_rank(&values, 50), Some(minutes(6)));
    assert_eq!(nearest_rank(&values, 90), Some(minutes(10)));
    assert_eq!(nearest_rank(&values[..3], 50), Some(minutes(2)));
    assert_eq!(nearest_rank(&values[..3], 90), Some(minutes(3)));
    assert_eq!(nearest_rank(&[], 90), None);
}

#[test]
fn the_longer_branch_is_the_critical_path() {
    let plan = plan_in("staging", &[]);
    let forecast = forecaster(&plan, &History::default()).before(at(0));
    assert_eq!(forecast.p50.finish, at(50 * 60));
    assert_eq!(forecast.p90.finish, at(50 * 60));
    assert_eq!((forecast.p90.machine, forecast.p90.human), (minutes(35), minutes(15)));
    let path: Vec<&str> = forecast.p90.steps.iter().map(|step| step.0.as_str()).collect();
    assert_eq!(path, ["start", "right1", "right2", "join"]);
    assert!(!forecast.steps[1].critical && forecast.steps[2].critical);
    assert_eq!(forecast.steps[1].p90, at(40 * 60));
    let window = forecast.window.unwrap();
    assert_eq!(window.p90, minutes(4 * 60 - 50));
    // Until somebody has answered at `right2` the clock does not run: only `join` is downtime for sure.
    let downtime = forecast.downtime.unwrap();
    assert_eq!((downtime.total.p90, downtime.budget), (minutes(5), Some(minutes(45))));
    assert_eq!(forecast.deadlines.len(), 1);
    assert_eq!(forecast.deadlines[0].at, at(90 * 60), "23:30 in São Paulo");
    assert_eq!(forecast.deadlines[0].p90, minutes(40));
    assert_eq!(forecast.makes_it(), Some(true));
    let late = forecaster(&plan, &History::default()).before(at(45 * 60));
    assert_eq!(late.deadlines[0].p90, minutes(-5));
    assert_eq!(late.makes_it(), Some(false));
}

#[test]
fn a_deadline_after_midnight_is_the_next_day() {
    let plan = plan_in("staging", &[("\"23:30\"", "\"00:10\"")]);
    let forecast = forecaster(&plan, &History::default()).before(at(0));
    assert_eq!(forecast.deadlines[0].at, at(130 * 60));
    let plan = plan_in("staging", &[("\"23:30\"", "\"22:00\"")]);
    let forecast = forecaster(&plan, &History::default()).before(at(0));
    assert_eq!(
        forecast.deadlines[0].at,
        at(24 * 3600),
        "the first one after the opening"
    );
}

#[test]
fn three_earlier_times_are_a_forecast_and_two_are_not() {
    let plan = plan_in("staging", &[]);
    let mut history = History::default();
    for _ in 0..2 {
        let mut run = Run::real(&plan);
        run.step(0, "start", 60, 300);
        run.teach(&mut history, &plan).unwrap();
    }
    let few = Estimate::of(step(&plan, "start"), &history, 1.0);
    assert_eq!(few.basis, Basis::Planned(2));
    assert_eq!(few.machine, Quantiles::both(minutes(10)));
    let enough = Estimate::of(step(&plan, "start"), &taught(&plan), 1.0);
    assert_eq!(enough.basis, Basis::Earlier(3));
    assert_eq!((enough.machine.p50, enough.machine.p90), (minutes(7), minutes(15)));
    assert_eq!((enough.human.p50, enough.human.p90), (minutes(2), minutes(10)));
    let history = taught(&plan);
    let forecast = forecaster(&plan, &history).before(at(0));
    assert_eq!(forecast.p50.finish, at((9 + 40) * 60));
    assert_eq!(forecast.p90.finish, at((25 + 40) * 60));
    assert_eq!(forecast.p90.human, minutes(10 + 15));
}

#[test]
fn a_step_of_which_nothing_is_known_makes_everything_at_least() {
    let plan = plan_in(
        "staging",
        &[(
            "        needs: [start]\n        expect: 30m\n",
            "        needs: [start]\n",
        )],
    );
    let forecast = forecaster(&plan, &History::default()).before(at(0));
    assert_eq!(forecast.silent, 1);
    assert!(forecast.at_least() && forecast.is_known());
    assert!(forecast.deadlines[0].at_least);
    assert!(
        forecast.downtime.unwrap().at_least,
        "`left` may end within the downtime"
    );
    assert!(timing_words::end(&forecast, chrono_tz::Tz::UTC).contains("at least"));
    let mut plan = plan;
    for step in &mut plan.steps {
        step.expect = None;
    }
    let forecast = forecaster(&plan, &History::default()).before(at(0));
    assert_eq!((forecast.is_known(), forecast.makes_it()), (false, None));
    assert_eq!(timing_words::end(&forecast, chrono_tz::Tz::UTC), "forecast unknown");
}

#[test]
fn only_undisturbed_successes_of_the_same_action_are_samples() {
    let plan = plan_in("staging", &[]);
    let count = |history: &History| history.of(step(&plan, "start")).len();
    let mut history = History::default();
    // A failure, then a success on the second attempt: the success counts.
    let mut run = Run::real(&plan);
    run.checking(0, "start", 1);
    run.asked(0, "start", 1);
    run.begun(10, "start", 1, Role::Do);
    run.outcome(20, "start", 1, Role::Do, OutcomeResult::Failed);
    let reason = String::new();
    run.tell(
        20,
        Event::StepFailed {
            step: id("start"),
            attempt: 1,
            reason,
        },
    );
    run.checking(500, "start", 2);
    run.asked(500, "start", 2);
    run.begun(560, "start", 2, Role::Do);
    run.finished(800, "start", 2);
    run.teach(&mut history, &plan).unwrap();
    assert_eq!(history.of(step(&plan, "start"))[0].machine, TimeDelta::seconds(240));
    assert_eq!(history.of(step(&plan, "start"))[0].human, Some(TimeDelta::seconds(60)));
    assert_eq!(count(&history), 1);
    // The process was gone in the middle.
    let mut run = Run::real(&plan);
    run.checking(0, "start", 1);
    run.asked(0, "start", 1);
    run.begun(10, "start", 1, Role::Do);
    let (operator, host) = ("olga".to_owned(), "h".to_owned());
    run.tell(4000, Event::Resumed { operator, host, pid: 1 });
    run.finished(4010, "start", 1);
    run.teach(&mut history, &plan).unwrap();
    assert_eq!(count(&history), 1);
    // Held before the intent.
    let mut run = Run::real(&plan);
    run.checking(0, "start", 1);
    run.asked(0, "start", 1);
    let (reason, person) = ("lunch".to_owned(), "olga".to_owned());
    run.tell(
        5,
        Event::RunHeld {
            reason,
            person: person.clone(),
            owner: None,
            until_ms: None,
        },
    );
    run.tell(3600, Event::RunReleased { person });
    run.begun(3610, "start", 1, Role::Do);
    run.finished(3700, "start", 1);
    run.teach(&mut history, &plan).unwrap();
    assert_eq!(count(&history), 1);
    // Another action under the same id, and another runbook.
    let other = plan_in("staging", &[("uses: dms.start", "uses: dms.resume")]);
    let mut run = Run::real(&other);
    run.step(0, "start", 1, 1);
    run.teach(&mut history, &plan).unwrap();
    assert_eq!(count(&history), 1);
    let other = plan_in("staging", &[("name: night", "name: nights")]);
    let taken = Run::real(&other).teach(&mut history, &plan);
    assert_eq!(taken, Err(Unfit::OtherRunbook));
    let dry = Run::begin(&plan, &json!({ "mode": "dry_run", "lab": null }));
    assert_eq!(dry.teach(&mut history, &plan), Err(Unfit::DryRun));
}

#[test]
fn what_a_faster_lab_took_teaches_only_the_lab() {
    let staging = plan_in("staging", &[]);
    let lab = plan_in("lab", &[]);
    let run = |speed: f64| {
        let mut run = Run::begin(&lab, &json!({ "mode": "real", "lab": { "speed": speed } }));
        run.step(0, "start", 60, 30);
        run
    };
    let mut history = History::default();
    assert_eq!(run(20.0).teach(&mut history, &staging), Err(Unfit::SpedUp(20.0)));
    assert_eq!(run(1.0).teach(&mut history, &staging), Ok(()));
    let mut history = History::default();
    for speed in [10.0, 20.0, 40.0] {
        run(speed).teach(&mut history, &lab).unwrap();
    }
    assert_eq!(Run::real(&staging).teach(&mut history, &lab), Err(Unfit::OutsideLab));
    // 30 s at speeds 10, 20, 40 are 300, 600, 1200 s; people are as quick as they are.
    let nominal = Estimate::of(step(&lab, "start"), &history, 1.0);
    assert_eq!((nominal.machine.p50, nominal.machine.p90), (minutes(10), minutes(20)));
    assert_eq!(nominal.human.p90, minutes(1));
    let fast = Estimate::of(step(&lab, "start"), &history, 10.0);
    assert_eq!((fast.machine.p50, fast.machine.p90), (minutes(1), minutes(2)));
    assert_eq!(fast.human.p90, minutes(1));
    assert_eq!(Estimate::of(step(&lab, "left"), &history, 10.0).machine.p90, minutes(3));
}

#[test]
fn done_steps_count_nothing_and_running_ones_what_is_left() {
    let plan = plan_in("staging", &[]);
    let history = History::default();
    let mut run = Run::real(&plan);
    let done = run.step(0, "start", 0, 600);
    run.checking(done, "right1", 1);
    run.asked(done, "right1", 1);
    run.begun(done + 60, "right1", 1, Role::Do);
    // Five minutes of work are done of twenty; the minute at the gate is not work.
    let now = done + 360;
    let forecast = run.forecast(&history, now);
    assert_eq!(forecast.steps[0].course, Course::Done);
    assert_eq!(forecast.steps[0].p90, at(600));
    assert_eq!(forecast.steps[2].course, Course::Running { over: None });
    assert_eq!(forecast.p90.finish, at(now + (15 + 15 + 5) * 60));
    // After 23 minutes of work it is over, counts nothing more, and says so.
    let now = done + 60 + 23 * 60;
    let forecast = run.forecast(&history, now);
    assert_eq!(forecast.steps[2].course, Course::Running { over: Some(minutes(3)) });
    // Nothing of `left` has begun: 30 minutes are longer than what is left of the other branch.
    assert_eq!(forecast.p90.finish, at(now + (30 + 5) * 60));
    let path: Vec<&str> = forecast.p90.steps.iter().map(|step| step.0.as_str()).collect();
    assert_eq!(path, ["left", "join"]);
    let told = timing_words::over(&plan, &forecast).unwrap();
    assert!(told.contains("right1 is OVER its estimate by 03:00"), "{told}");
}

#[test]
fn downtime_counts_from_its_begin_and_what_is_to_come() {
    let plan = plan_in("staging", &[]);
    let history = History::default();
    let mut run = Run::real(&plan);
    let done = run.step(0, "start", 0, 600);
    let done = run.step(done, "left", 0, 600);
    let done = run.step(done, "right1", 0, 600);
    run.checking(done, "right2", 1);
    run.asked(done, "right2", 1);
    run.begun(done + 120, "right2", 1, Role::Do);
    run.finished(done + 420, "right2", 1);
    let downtime = run.forecast(&history, done + 480).downtime.unwrap();
    // It began with the intent, six minutes ago; five more are planned.
    assert_eq!((downtime.so_far, downtime.total.p90), (minutes(6), minutes(11)));
    assert!(downtime.makes_it());
    let forecast = run.forecast(&history, done + 120 + 41 * 60);
    assert_eq!(forecast.downtime.unwrap().total.p90, minutes(46));
    assert_eq!(forecast.makes_it(), Some(false), "45 minutes were agreed");
}

#[test]
fn the_forecast_of_a_done_run_is_its_end() {
    let plan = plan_in("staging", &[]);
    let mut run = Run::real(&plan);
    let mut end = 0;
    for step in ["start", "left", "right1", "right2", "join"] {
        end = run.step(end, step, 10, 100);
    }
    run.close(end + 30);
    let forecast = run.forecast(&History::default(), end + 9000);
    assert_eq!(forecast.heading, Heading::Over);
    assert_eq!((forecast.p50.finish, forecast.p90.finish), (at(end + 30), at(end + 30)));
    assert_eq!(
        forecast.window.unwrap().p90,
        minutes(240) - TimeDelta::seconds(end + 30)
    );
    assert!(forecast.p90.steps.is_empty());
    assert_eq!(forecast.deadlines[0].p90, minutes(90) - TimeDelta::seconds(end));
    assert_eq!(forecast.downtime.unwrap().total.p90, TimeDelta::seconds(100 + 110));
}

/// A step, the ones it needs among those before it, its `expect` in minutes.
type Shape = (u16, Option<u8>);

fn graph(shapes: &[Shape], plan: &Plan) -> Plan {
    let model = step(plan, "left").clone();
    let mut plan = plan.clone();
    plan.steps = shapes
        .iter()
        .enumerate()
        .map(|(index, (needs, expect))| PlannedStep {
            id: format!("s{index}"),
            needs: (0..index)
                .filter(|need| needs & (1 << need) != 0)
                .map(|need| format!("s{need}"))
                .collect(),
            expect: expect.map(|minutes| Span(u64::from(minutes) * 60_000)),
            ..model.clone()
        })
        .collect();
    plan
}

proptest! {
    #[test]
    fn one_more_step_never_makes_the_night_shorter(
        shapes in prop::collection::vec((any::<u16>(), prop::option::of(0u8..120)), 1..10),
        new in (any::<u16>(), prop::option::of(0u8..120)),
        followers in any::<u16>(),
    ) {
        let base = plan_in("staging", &[]);
        let history = History::default();
        let before = graph(&shapes, &base);
        let mut after = before.clone();
        // The new step needs some of the first half and is needed by some of the second.
        let place = shapes.len() / 2;
        let mut step = graph(&[new], &base).steps.remove(0);
        step.id = "new".to_owned();
        step.needs = (0..place).filter(|need| new.0 & (1 << need) != 0).map(|need| format!("s{need}")).collect();
        for (index, follower) in after.steps.iter_mut().enumerate().skip(place) {
            if followers & (1 << index) != 0 {
                follower.needs.push("new".to_owned());
            }
        }
        after.steps.insert(place, step);
        let (was, is) = (forecaster(&before, &history).before(at(0)), forecaster(&after, &history).before(at(0)));
        prop_assert!(is.p50.finish >= was.p50.finish);
        prop_assert!(is.p90.finish >= was.p90.finish);
        prop_assert!(is.p90.finish >= is.p50.finish);
        prop_assert!(is.at_least() || (new.1.is_some() && !was.at_least()));
        let sum = is.p90.machine + is.p90.human;
        prop_assert_eq!(is.p90.finish, at(0) + sum);
    }
}

#[test]
fn what_a_script_approved_says_nothing_about_people() {
    let plan = plan_in("staging", &[]);
    let mut history = History::default();
    for _ in 0..3 {
        let mut run = Run::real(&plan);
        run.checking(0, "start", 1);
        run.asked(0, "start", 1);
        run.voted(0, pointsman::projection::samples::UNLOOKED);
        run.begun(0, "start", 1, Role::Do);
        run.finished(100, "start", 1);
        run.teach(&mut history, &plan).unwrap();
    }
    let samples = history.of(step(&plan, "start"));
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().all(|sample| sample.human.is_none()));
    let mut run = Run::real(&plan);
    run.checking(0, "start", 1);
    run.asked(0, "start", 1);
    run.voted(40, "I looked");
    run.begun(40, "start", 1, Role::Do);
    run.finished(140, "start", 1);
    run.teach(&mut history, &plan).unwrap();
    assert_eq!(history.of(step(&plan, "start"))[3].human, Some(TimeDelta::seconds(40)));
}
