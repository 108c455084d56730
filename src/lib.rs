//! pointsman conducts a migration's cutover day: a YAML runbook becomes a gated run, written in a journal that a
//! stranger can verify.
//!
//! A *runbook* becomes a *run*, written in a *journal*, driven by an *engine* through *providers*, seen as a
//! *projection* in a *front end*.
//!
//! Direction of dependencies (an arrow may import): `cli → everything`; `frontend, report → projection → run`;
//! `frontend → engine`; `engine → run, runbook, journal, provider`; `journal → run`; `provider → runbook`; `lab` stands
//! alone and only `cli` names it. `run`, `runbook`, `projection` and `journal::chain` are pure: no tokio, no clock, no
//! I/O, no randomness.

pub mod cli;
pub mod engine;
pub mod frontend;
pub mod journal;
pub mod lab;
pub mod projection;
pub mod provider;
pub mod report;
pub mod run;
pub mod runbook;
