//! A run without a cockpit, for pipelines and scripted rehearsals: prints what happens, votes only where it was told
//! to approve everything. Must not decide what only a person may: a failure ends it resumably, a doubt with exit 6.

mod autopilot;
mod conduct;
mod printer;
mod watch;

pub use autopilot::{AMENDING, Autopilot, Next};
pub use conduct::{HeadlessOptions, run};
pub use printer::{Format, Printer};
pub use watch::RollbackWatch;
