//! DNS through Route 53: change, INSYNC, the authoritative answer, the old TTL. Convergent: what was meant is compared
//! with what is.

pub mod change;
pub mod lookup;
pub mod records;
pub mod table;
