//! DNS through Route 53: change, INSYNC, every authoritative answer, the resolvers, the old TTL. Convergent: what was meant
//! is compared with what is.

pub mod change;
pub mod intent;
pub mod left;
pub mod lookup;
pub mod lowered;
pub mod reading;
pub mod records;
pub mod refusal;
pub mod sampling;
pub mod servers;
pub mod settle;
pub mod shift;
pub mod spelling;
pub mod stages;
pub mod table;
pub mod verdict;
pub mod watch;
pub mod way;
