//! What people do. The gate's answer is the act; nothing is executed here.

pub mod act;
pub mod poll;
pub mod table;
