//! Reports for people and auditors, made from a journal that was read. Must not read files, ask a clock or judge: what a
//! report says stands in the records or in the verdict that it was given.

pub mod markdown;
mod source;

pub use source::{Entry, Evidence, Shown, Source};
