//! TCP: does something listen there, or, after a cutover, does it not any more?

pub mod check;
pub mod table;
