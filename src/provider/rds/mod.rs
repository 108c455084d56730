//! RDS: instances and clusters, read and changed. What is ours is found again by name and tag; a change counts as done
//! when the database itself says so, never because the call was answered.

pub mod assertion;
pub mod database;
pub mod describe;
pub mod failover;
pub mod health;
pub mod modify;
pub mod promote;
pub mod restore_test;
pub mod snapshot;
pub mod table;
pub mod throwaway;
pub mod way;
