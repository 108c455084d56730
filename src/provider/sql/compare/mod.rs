//! Comparing the tables of two databases, row by row, at the speed of the databases: each side sums the hashes of its rows
//! by ranges of the key, and only where the sums differ are rows looked at. "Equal" is said only where every range of every
//! table was compared and nobody has written meanwhile. Reads only; must not know where its result goes.

pub mod action;
pub mod all;
mod between;
pub mod brake;
pub mod cursor;
pub mod decimal;
pub mod dialect;
pub mod dialects;
pub mod differences;
pub mod form;
pub mod json;
pub mod kind;
pub mod ledger;
pub mod meter;
mod narrow;
pub mod outcome;
pub mod pace;
pub mod pool;
mod probe;
pub mod row;
pub mod side;
pub mod table;
pub mod wish;
pub mod work;
