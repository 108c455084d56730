//! CloudWatch metrics: the newest sample of one, and whether it is as a step wants it. Reads only.

pub mod metric;
pub mod samples;
pub mod table;
