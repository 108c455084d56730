//! The engine in a simulated world: the real dispatcher, executor, journal and state machine under paused time, with
//! actions and a person that a seed scripts. The same seed gives the same run, so that a failing one is played again by
//! its number:
//!
//! `POINTSMAN_SIM_SEED=1234 cargo test --test simulation` plays one, `POINTSMAN_SIM_SEEDS=5000` so many.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "../run_machine/promises.rs"]
mod promises;
#[path = "../support/world.rs"]
mod world;

mod person;
mod unseen;
mod ways;

use std::collections::BTreeSet;
use std::sync::Arc;

use pointsman::engine::clock::Clock;
use pointsman::engine::dispatcher::{Channels, Dispatcher};
use pointsman::engine::executor::{Builder, Executor, Probes, Setup};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::engine::handle::{Handle, Past, Update};
use pointsman::journal::verify::{Require, verify};
use pointsman::journal::{Actor, JournalWriter, Redactor};
use pointsman::provider::registry::catalogue;
use pointsman::run::amend::Draft;
use pointsman::run::event::{CloseState, OutcomeResult, PersonDecision, Role};
use pointsman::run::facts::Undo;
use pointsman::run::state::{EffectState, Phase};
use pointsman::run::{Command, Event, RunState, apply};
use pointsman::runbook::Plan;
use pointsman::runbook::plan::Span;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use person::Person;
use world::{Entry, Script, World};

const PLANS: &[&str] = &[
    include_str!("../fixtures/linear.yaml"),
    include_str!("../fixtures/parallel.yaml"),
];

/// How one night ended.
struct Night {
    /// The plan that it began with, and the one that it went by at its end.
    first: Arc<Plan>,
    plan: Arc<Plan>,
    state: RunState,
    updates: Vec<Arc<Update>>,
    drafts: Vec<Arc<Draft>>,
    ledger: Vec<Entry>,
}

fn plan(seed: u64) -> Arc<Plan> {
    let text = PLANS[usize::try_from(seed).unwrap() % PLANS.len()];
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    let mut plan = pointsman::runbook::plan(text.as_bytes(), "sim", &catalogue(), now).unwrap();
    // Short enough to age at a gate.
    plan.preflight = seed.is_multiple_of(3).then_some(Span(4_000));
    Arc::new(plan)
}

/// Plays a seed's night to its end.
fn play(seed: u64) -> Night {
    let place = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let plan = plan(seed);
    let script = Script {
        seed,
        smooth: false,
        blind: 30,
    };
    let world = World::new(&place.path().join("ledger"), script, Arc::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (past, drafts) = runtime.block_on(night(plan.clone(), world.clone(), place.path(), seed));
    let (state, updates) = (past.state, past.updates);
    let (first, plan) = (plan, past.plan);
    // What did not end by itself is gone: nothing of it may reach the ledger any more.
    drop(runtime);
    let report = verify(place.path(), Require::Chain);
    assert_eq!(report.code, 0, "seed {seed}: {report:?}");
    Night {
        first,
        plan,
        drafts,
        state,
        updates,
        ledger: world.happened(),
    }
}

/// Opens a run in `folder` whose actions `build` makes; gives its handle and its dispatcher.
async fn begin(
    plan: &Arc<Plan>,
    folder: &std::path::Path,
    build: Arc<Builder>,
    probes: Arc<Probes>,
) -> (Handle, JoinHandle<()>) {
    let writer = JournalWriter::create(folder, "sim", "boot").unwrap();
    let clock = Clock::simulated("2026-12-05T22:00:00Z".parse().unwrap());
    let actor = Actor {
        id: "olga".to_owned(),
        via: "simulation".to_owned(),
        uid: 0,
        host: "h".to_owned(),
    };
    let channels = Channels::new();
    let handle = channels.handle.clone();
    let executor = Executor::new(Setup {
        run: "sim".to_owned(),
        plan: plan.clone(),
        mode: Mode::Real,
        build,
        probes,
        redactor: Arc::new(Redactor::default()),
        speed: 1.0,
        handle: handle.clone(),
    });
    let state = RunState::new(Arc::new(facts_of(plan, Mode::Real)));
    let dispatcher = Dispatcher::new(state, Vec::new(), writer, actor, clock, executor, &channels);
    let running = tokio::spawn(dispatcher.run(channels));
    let open = Command::Open {
        data: Map::new(),
        operator: "olga".to_owned(),
    };
    handle.tell(open).await.unwrap();
    (handle, running)
}

async fn night(plan: Arc<Plan>, world: World, folder: &std::path::Path, seed: u64) -> (Past, Vec<Arc<Draft>>) {
    let builder = world.clone();
    let build = move |uses: &str, _: &[String], with: &Value| Ok(builder.action(uses, with));
    let (handle, running) = begin(&plan, folder, Arc::new(build), world.probes()).await;
    let mut person = Person::new(seed, world, folder);
    person.conduct(&handle).await;
    let ended = handle.history().await.unwrap();
    handle.close().await;
    running.await.unwrap();
    (ended, person.drafts)
}

/// Says which seed it was, whatever was found.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("play it again with POINTSMAN_SIM_SEED={}", self.0);
        }
    }
}

/// What must hold of a night, judged by its journal and by what really happened.
fn judge(seed: u64, night: &Night) {
    let _named = Named(seed);
    let facts = Arc::new(facts_of(&night.first, Mode::Real));
    let events: Vec<Event> = night.updates.iter().map(|update| update.event.clone()).collect();
    let times: Vec<i64> = night
        .updates
        .iter()
        .map(|update| update.at.timestamp_millis())
        .collect();
    promises::judge(&facts, &night.drafts, &events, &times);
    let mut fresh = RunState::new(facts.clone());
    for draft in &night.drafts {
        fresh.learn(draft.clone());
    }
    let replayed = events.iter().fold(fresh, |state, event| apply(state, event).unwrap());
    assert_eq!(replayed, night.state, "seed {seed}");
    let keys: BTreeSet<&str> = night.ledger.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(
        keys.len(),
        night.ledger.len(),
        "seed {seed}: an effect happened twice: {:?}",
        night.ledger
    );
    for (planned, (facts, step)) in night.plan.steps.iter().zip(night.state.each()) {
        let did = |sql: &str| {
            night
                .ledger
                .iter()
                .filter(|entry| entry.step == facts.id.0 && entry.sql == sql)
                .count()
        };
        let own = planned
            .action
            .with
            .get("sql")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if planned.action.uses != "sql.exec" {
            continue;
        }
        let back = night
            .ledger
            .iter()
            .filter(|entry| entry.step == facts.id.0 && entry.sql != own)
            .count();
        let begun = events
            .iter()
            .filter(|event| matches!(event, Event::EffectIntent { step, role: Role::Do, .. } if *step == facts.id))
            .count();
        assert!(
            did(own) <= begun,
            "seed {seed}: {} happened without its intent",
            facts.id
        );
        match &step.act {
            EffectState::Done => assert!(
                did(own) > 0,
                "seed {seed}: {} is called done and never happened",
                facts.id
            ),
            EffectState::None | EffectState::NotSent | EffectState::Failed
                if begun == 1
                    && !step.residue
                    && back == 0
                    && facts.undo == Undo::Action
                    && !by_hand(night, &facts.id.0) =>
            {
                assert_eq!(did(own), 0, "seed {seed}: {} happened and is called not done", facts.id);
            }
            EffectState::None
            | EffectState::NotSent
            | EffectState::Failed
            | EffectState::MaybeHappened
            | EffectState::InFlight { .. }
            | EffectState::Orphaned { .. }
            | EffectState::InDoubt { .. } => {}
        }
    }
    doubts_are_asked(seed, &events);
    let Phase::Closed { state, .. } = night.state.phase else {
        panic!("seed {seed}: the run did not end");
    };
    if state == CloseState::RolledBack {
        undone(seed, night);
    }
}

/// Whoever is not known to have happened, or not, was decided by a look or by a person before anything else began.
fn doubts_are_asked(seed: u64, events: &[Event]) {
    let mut open = BTreeSet::new();
    for event in events {
        match event {
            Event::EffectOutcome { step, role, result, .. } => {
                if *result == OutcomeResult::InDoubt {
                    open.insert((step.clone(), *role));
                } else {
                    open.remove(&(step.clone(), *role));
                }
            }
            Event::EffectDecided { step, role, .. } => {
                open.remove(&(step.clone(), *role));
            }
            Event::EffectIntent {
                step, role: Role::Do, ..
            } => assert!(open.is_empty(), "seed {seed}: {step} begins while {open:?} is in doubt"),
            _ => {}
        }
    }
}

/// Whether a person did the step's undo, where the ledger cannot see it.
fn by_hand(night: &Night, step: &str) -> bool {
    night.updates.iter().any(|update| {
        let Event::EffectDecided { step: of, decision, .. } = &update.event else {
            return false;
        };
        of.0 == step && *decision == PersonDecision::ByHand
    })
}

/// Everything that has an undo and happened was undone in the world too.
fn undone(seed: u64, night: &Night) {
    for planned in &night.plan.steps {
        let pointsman::runbook::plan::Rollback::Action { action, .. } = &planned.rollback else {
            continue;
        };
        let count = |sql: &Value| {
            let text = sql.as_str().unwrap();
            night
                .ledger
                .iter()
                .filter(|entry| entry.step == planned.id && entry.sql == text)
                .count()
        };
        if by_hand(night, &planned.id) {
            continue;
        }
        let (done, back) = (count(&planned.action.with["sql"]), count(&action.with["sql"]));
        assert!(
            done == 0 || back > 0,
            "seed {seed}: {} happened {done} times and was undone {back} times",
            planned.id
        );
    }
}

#[test]
fn random_nights_keep_every_promise() {
    if let Ok(seed) = std::env::var("POINTSMAN_SIM_SEED") {
        let seed = seed.parse().unwrap();
        let night = play(seed);
        for update in &night.updates {
            eprintln!("{} {:?}", update.at.time(), update.event);
        }
        judge(seed, &night);
        return;
    }
    let seeds: u64 = std::env::var("POINTSMAN_SIM_SEEDS").map_or(150, |seeds| seeds.parse().unwrap());
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..seeds {
        let night = play(seed);
        judge(seed, &night);
        *ends.entry(format!("{:?}", night.state.phase)).or_insert(0) += 1;
    }
    eprintln!("{seeds} nights: {ends:?}");
    assert!(
        seeds < 100 || ends.len() > 1,
        "nights have to end in more than one way: {ends:?}"
    );
}

#[test]
fn the_same_seed_plays_the_same_night() {
    for seed in 0..12 {
        let tell = |night: &Night| -> Vec<String> {
            let times = night.updates.iter();
            times
                .map(|update| {
                    let mut event = serde_json::to_value(&update.event).unwrap();
                    // Evidence is salted: its digest is another each time, by design.
                    if let Some(digest) = event.get_mut("evidence_digest") {
                        *digest = Value::Null;
                    }
                    format!("{} {event}", update.at)
                })
                .collect()
        };
        assert_eq!(tell(&play(seed)), tell(&play(seed)), "seed {seed}");
    }
}
