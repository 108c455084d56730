//! Text to plan. Pure: files are read by `cli` and handed over as text.

pub mod catalogue;
pub mod plan;
