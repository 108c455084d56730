//! No durable record, no effect: a disk that fails at any of its operations ends a run before its next effect, and a
//! power loss at any moment takes nothing that somebody was told.
#![expect(clippy::unwrap_used, reason = "tests")]

mod disk;
mod faults;
mod loss;
mod power;
mod program;
mod stage;
