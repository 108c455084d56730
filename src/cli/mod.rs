//! The command line: one file per verb, and what the verbs share. The only place that prints to standard output, reads
//! the runbook's file and knows every module. Must not decide anything about a run.

mod args;
mod check;
mod compare;
mod databases;
mod diagnostics;
mod entry;
mod forecast;
mod genesis;
mod history;
mod imports;
mod lab;
mod ledger;
mod out;
mod place;
mod plan;
mod plans;
mod preflight;
mod reading;
mod report;
mod resume;
mod run;
mod runs;
mod schema;
mod secrets;
mod session;
mod store;
mod trouble;
mod verify;
mod world;

pub use args::Cli;
pub use entry::main;
