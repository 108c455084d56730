//! Faults that the lab makes on request.

use std::fmt;
use std::str::FromStr;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The snapshot is taken, the answer never comes; once.
    SnapshotReplyLost,
    /// The snapshot is taken, the answer waits until somebody removes the file `stalled` from the lab's folder; once.
    SnapshotReplyStalls,
    /// The task is started, the answer never comes; once.
    DmsStartReplyLost,
    /// The record is changed, the answer never comes; once.
    DnsChangeReplyLost,
    /// The record is pointed at the new application, the answer never comes; once.
    DnsFlipReplyLost,
    /// The first mutating call of each service is throttled.
    ThrottleOnce,
    /// Snapshots stay at 40 %.
    SnapshotStalls,
    /// The replication stops half-way through the load.
    ReplicationStalls,
    /// One row arrives altered, and the replication's own validation says so.
    RowDiffers,
    /// One row arrives altered, in a way that no sum shows, and the replication's own validation says nothing.
    RowDiffersUnseen,
    /// Changes stay PENDING.
    DnsNotInSync,
    /// IAM's simulation denies `route53:ChangeResourceRecordSets`.
    DnsDenied,
    /// The new application answers 503.
    TargetUnhealthy,
    /// The new application answers 503 as long as DNS gives it 25 % of the traffic or more.
    TargetUnhealthyAfter25,
}

const ALL: &[(&str, Fault)] = &[
    ("snapshot-reply-lost", Fault::SnapshotReplyLost),
    ("snapshot-reply-stalls", Fault::SnapshotReplyStalls),
    ("dms-start-reply-lost", Fault::DmsStartReplyLost),
    ("dns-change-reply-lost", Fault::DnsChangeReplyLost),
    ("dns-flip-reply-lost", Fault::DnsFlipReplyLost),
    ("throttle-once", Fault::ThrottleOnce),
    ("snapshot-stalls", Fault::SnapshotStalls),
    ("replication-stalls", Fault::ReplicationStalls),
    ("row-differs", Fault::RowDiffers),
    ("row-differs-unseen", Fault::RowDiffersUnseen),
    ("dns-not-in-sync", Fault::DnsNotInSync),
    ("dns-denied", Fault::DnsDenied),
    ("target-unhealthy", Fault::TargetUnhealthy),
    ("target-unhealthy-after-25", Fault::TargetUnhealthyAfter25),
];

/// A name that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lab knows no fault \"{name}\"; it knows {known}")]
pub struct UnknownFault {
    name: String,
    known: String,
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        ALL.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, fault)| *fault)
            .ok_or_else(|| UnknownFault {
                name: name.to_owned(),
                known: ALL.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
            })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(_, fault)| fault == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}
