//! The contract of AWS: one suite that runs unchanged against the lab and against peers that other people wrote, so that
//! the lab cannot drift from the world; and a table of faults, each with the class that it has to have.
//!
//! What a peer lacks, and where that is tested instead:
//!
//! | peer | API | gap | instead |
//! |---|---|---|---|
//! | moto 5.2.5 | RDS | everything is `available` at once, nothing is ever pending | progressions on the lab |
//! | moto | RDS `PromoteReadReplica` | answers with success and leaves a replica | it is the test that this is not done; promotion on the lab |
//! | moto | RDS `RebootDBInstance` | no standby, the zone never changes | the same for failover of an instance; on the lab |
//! | moto | RDS snapshots | no `PercentProgress` for instances | progress on the lab |
//! | moto | DMS | a new task stays `creating`, a running one can be started again | first start and refusals on the lab |
//! | moto | DMS timestamps | ISO texts | `peers/serve.py` turns them into seconds |
//! | moto | DMS `DescribeTableStatistics` | 500 | the waits on the lab |
//! | moto | Route 53 | INSYNC at once | PENDING on ministack and the lab |
//! | moto | Route 53 batches | refuses a CREATE of what stood there at any time before, though the batch deletes what stands; judges a DELETE by all that ever stood, not by what stands | what comes back, swaps and who was faster on ministack and the lab |
//! | ministack 1.5.33 | RDS | wants a container | moto and the lab |
//! | ministack | DMS | none | moto and the lab |
//! | moto | IAM `SimulatePrincipalPolicy` | none | ministack and the lab |
//! | moto | signatures and policies | not looked at until it is told to | `signatures.rs` tells it |
//! | ministack | CloudWatch `GetMetricStatistics` | not tried | moto and the lab |
//! | both | DNS | none serves its zones | `authority.rs` answers from the zone as the peer lists it |
//! | both | refusals of credentials, throttling, lost replies | none by themselves | `proxy.rs` in front of them, and microburst 0.10.0, which words them by AWS's own models |
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../databases/mod.rs"]
mod databases;
#[path = "../peers/mod.rs"]
mod peers;

mod authority;
mod bench;
mod cloudwatch;
mod demands;
mod dms;
mod dms_servers;
mod dms_tables;
mod dns;
mod fault_table;
mod faults;
mod house;
mod identity;
mod lag;
mod lost_replies;
mod modelled_faults;
mod permissions;
mod program;
mod proxy;
mod rds;
mod rds_changes;
mod refusals;
mod restore_test;
mod signatures;
mod wire;
