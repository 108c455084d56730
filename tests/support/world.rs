//! A world for the engine that is not the lab: actions that do what a script says, and a ledger on disk of what really
//! happened, which outlives a kill and is the judge of every claim. The same seed scripts the same world.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pointsman::engine::executor::Probes;
use pointsman::provider::action::{
    Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready,
};
use pointsman::provider::preflight::Finding;
use serde_json::{Value, json};

/// What happens around the moments where a process may die: nothing, or its death.
pub type Tick = Arc<dyn Fn(&'static str) + Send + Sync>;

/// How the world answers.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub seed: u64,
    /// Everything goes well and nearly at once.
    pub smooth: bool,
    /// In a hundred actions, how many cannot be observed afterwards.
    pub blind: u64,
}

/// The world.
#[derive(Clone)]
pub struct World {
    ledger: PathBuf,
    script: Script,
    tick: Tick,
    /// How often each key was tried or looked at, for errors that go away and for what shows late.
    tries: Arc<std::sync::Mutex<BTreeMap<String, u32>>>,
    calls: Arc<AtomicU32>,
}

/// One effect that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub step: String,
    pub attempt: u32,
    pub sql: String,
}

impl World {
    pub fn new(ledger: &Path, script: Script, tick: Tick) -> Self {
        Self {
            ledger: ledger.to_owned(),
            script,
            tick,
            tries: Arc::default(),
            calls: Arc::default(),
        }
    }

    /// An action of this world.
    pub fn action(&self, uses: &str, with: &Value) -> Box<dyn Action> {
        let sql = with.get("sql").and_then(Value::as_str).unwrap_or_default().to_owned();
        Box::new(Scripted {
            world: self.clone(),
            mutates: uses == "sql.exec",
            uses: uses.to_owned(),
            sql,
        })
    }

    /// What a preflight of this world finds, after a while: mostly green.
    pub fn probes(&self) -> Arc<Probes> {
        let world = self.clone();
        Arc::new(move |_plan| {
            let world = world.clone();
            Box::pin(async move {
                let call = world.calls.fetch_add(1, Ordering::Relaxed).to_string();
                if world.script.smooth {
                    return vec![Finding::green("sim", "there", "as it should be")];
                }
                tokio::time::sleep(Duration::from_millis(world.roll("look", &call, 1_500))).await;
                vec![match world.roll("preflight", &call, 6) {
                    0 => Finding::red("sim", "there", "it does not answer", "is it up?"),
                    1 => Finding::amber("sim", "there", "it is slow", "look at it"),
                    _ => Finding::green("sim", "there", "as it should be"),
                }]
            })
        })
    }

    /// What really happened, in its order.
    pub fn happened(&self) -> Vec<Entry> {
        entries(&self.ledger)
    }

    fn apply(&self, cx: &Cx, sql: &str) {
        let line = json!({ "key": cx.key, "step": cx.step, "attempt": cx.attempt, "sql": sql });
        let mut file = OpenOptions::new().create(true).append(true).open(&self.ledger).unwrap();
        // One write: a kill leaves the whole line or none of it.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn roll(&self, what: &str, key: &str, sides: u64) -> u64 {
        let hash = [what, key]
            .iter()
            .flat_map(|part| part.bytes())
            .fold(self.script.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mixed = (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) % sides.max(1)
    }
}

/// Reads a ledger.
pub fn entries(ledger: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            Entry {
                key: value["key"].as_str().unwrap().to_owned(),
                step: value["step"].as_str().unwrap().to_owned(),
                attempt: u32::try_from(value["attempt"].as_u64().unwrap()).unwrap(),
                sql: value["sql"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}

struct Scripted {
    world: World,
    uses: String,
    sql: String,
    mutates: bool,
}

fn error(kind: ActionErrorKind, words: &str) -> ActionError {
    ActionError::new(kind, words)
}

impl Scripted {
    fn done(&self) -> Outcome {
        let result = json!({ "rows": 1, "value": 1 });
        Outcome {
            summary: format!("{} done", self.uses),
            result: result.as_object().unwrap().clone(),
            evidence: Vec::new(),
        }
    }

    fn roll(&self, what: &str, cx: &Cx, sides: u64) -> u64 {
        self.world.roll(what, &cx.key, sides)
    }

    /// A wait that a cancel cuts short.
    async fn wait(&self, what: &str, cx: &Cx, longest_ms: u64) -> Result<(), ActionError> {
        if self.world.script.smooth {
            return Ok(());
        }
        cx.pause(Duration::from_millis(self.roll(what, cx, longest_ms))).await
    }

    fn has_happened(&self, cx: &Cx) -> bool {
        self.world.happened().iter().any(|entry| entry.key == cx.key)
    }

    async fn change(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let smooth = self.world.script.smooth;
        let luck = if smooth { 99 } else { self.roll("luck", cx, 100) };
        if luck < 8 {
            let tries = {
                let mut tries = self.world.tries.lock().unwrap();
                let count = tries.entry(cx.key.clone()).or_insert(0);
                *count += 1;
                *count
            };
            if tries < 3 {
                return Err(error(ActionErrorKind::Transient, "the connection was refused"));
            }
        }
        if (8..14).contains(&luck) {
            return Err(error(ActionErrorKind::Permanent, "the statement was refused"));
        }
        self.wait("before", cx, 2_000).await?;
        (self.world.tick)("before the send");
        if (14..17).contains(&luck) {
            // Sent, lost on the way, and nobody knows.
            return Err(error(ActionErrorKind::InDoubt, "no answer within the timeout"));
        }
        self.world.apply(cx, &self.sql);
        (self.world.tick)("after the effect, before the answer");
        if (17..22).contains(&luck) {
            return Err(error(ActionErrorKind::InDoubt, "the answer was cut off"));
        }
        cx.reporter.ack(&cx.key).await?;
        (self.world.tick)("after the acknowledgement");
        cx.reporter.progress(Progress::State("at work".to_owned()));
        self.wait("after", cx, 5_000).await?;
        if (22..26).contains(&luck) {
            return Err(error(ActionErrorKind::Permanent, "it broke half way"));
        }
        Ok(self.done())
    }
}

#[async_trait]
impl Action for Scripted {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!("{} {}", self.uses, self.sql),
            commands: vec![self.sql.clone()],
            notes: Vec::new(),
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.wait("check", cx, 300).await?;
        let call = self.world.calls.fetch_add(1, Ordering::Relaxed);
        let red = !self.world.script.smooth && self.world.roll("red", &format!("{}{call}", cx.key), 25) == 0;
        if red {
            return Err(error(ActionErrorKind::Permanent, "the database is not reachable"));
        }
        Ok(Ready {
            identity: json!({ "database": "sim" }),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        if self.mutates {
            return self.change(cx).await;
        }
        self.wait("read", cx, 1_000).await?;
        if !self.world.script.smooth && self.roll("read luck", cx, 20) == 0 {
            return Err(error(ActionErrorKind::Permanent, "the answer is not what was expected"));
        }
        Ok(self.done())
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        if self.roll("blind", cx, 100) < self.world.script.blind {
            return Ok(Observed::Unknown {
                detail: "the database keeps no trace of it".to_owned(),
            });
        }
        // A peer whose answers lag behind what it took.
        if !self.world.script.smooth && self.roll("late", cx, 100) < 20 {
            let looks = {
                let mut tries = self.world.tries.lock().unwrap();
                let count = tries.entry(format!("looks at {}", cx.key)).or_insert(0);
                *count += 1;
                *count
            };
            if looks <= 3 {
                return Ok(Observed::NotVisible {
                    detail: "the database does not show it yet".to_owned(),
                });
            }
        }
        Ok(if self.has_happened(cx) {
            Observed::Done(self.done())
        } else {
            Observed::NotStarted {
                detail: "the database does not know it".to_owned(),
            }
        })
    }
}
