//! Commands of this host: program and arguments, never a shell's text; own process group, own environment.

pub mod attempt;
pub mod command;
pub mod table;
