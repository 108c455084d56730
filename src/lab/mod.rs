//! The embedded lab: a cloud, a DNS server, two databases, a replicator, a workload and its application, all real
//! servers on loopback, their state in one folder that outlives a kill.
//!
//! Architecture invariant: nothing in here is known to a provider, and the lab knows nothing of the program around it.

pub mod app;
pub mod cloud;
pub mod cloudwatch;
pub mod dms;
pub mod dns;
pub mod endpoints;
pub mod fault;
pub mod gateway;
pub mod iam;
pub mod measure;
pub mod rds;
pub mod replicator;
pub mod requests;
pub mod route53;
pub mod seed;
pub mod workload;
pub mod world;
pub mod xml;
mod zone;

pub use endpoints::Endpoints;
pub use fault::Fault;
pub use measure::{Measure, measure};
pub use world::{Lab, LabError, LabOptions};
