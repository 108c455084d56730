//! Pure views of a run for people: what happened in words, when, how long, at what price. Must not perform I/O, ask a
//! clock or know the engine; events come in with the time they were recorded.

pub mod alarms;
pub mod downtime;
pub mod escape;
pub mod estimate;
pub mod forecast;
pub mod forecaster;
pub mod proof;
pub mod samples;
mod schedule;
pub mod story;
pub mod summary;
pub mod tally;
pub mod timeline;
pub mod timing_words;
pub mod way_back;
pub mod words;

pub use story::Story;
