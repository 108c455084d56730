//! What RDS says of a database besides its settings, and a gate has to tell: parameters that wait for a restart, how its
//! replication fares, what a change of its backups means. Owns the words; sends nothing.

use aws_sdk_rds::types::{DbCluster, DbInstance};

/// What RDS says of a replica's replication (`StatusInfos`); how far it is behind is not among it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// RDS calls it normal.
    pub normal: bool,
    /// `replicating`, `stopped`, `error`, `terminated`, and what it is stopped for.
    pub status: String,
    pub message: Option<String>,
}

impl Replication {
    /// Of an instance, where RDS says anything.
    pub fn of(found: &DbInstance) -> Option<Self> {
        let infos = found.status_infos().iter();
        let mut about = infos.filter(|info| info.status_type() == Some("read replication"));
        about.next().map(|info| Self {
            normal: info.normal() == Some(true),
            status: info.status().unwrap_or_default().to_owned(),
            message: info.message().filter(|words| !words.is_empty()).map(str::to_owned),
        })
    }

    /// Whether changes of its source arrive.
    pub fn runs(&self) -> bool {
        self.normal && self.status == "replicating"
    }

    /// For people.
    pub fn words(&self) -> String {
        let message = self
            .message
            .as_ref()
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        let normal = if self.normal { "" } else { " (not normal)" };
        format!("{}{normal}{message}", self.status)
    }
}

/// What is not in force of the parameter groups of an instance.
pub fn waiting_of_instance(found: &DbInstance) -> Vec<String> {
    let groups = found.db_parameter_groups().iter();
    let waiting = groups.filter(|group| group.parameter_apply_status() == Some("pending-reboot"));
    waiting
        .map(|group| group.db_parameter_group_name().unwrap_or_default().to_owned())
        .collect()
}

/// What is not in force of the parameter group of a cluster, member by member.
pub fn waiting_of_cluster(found: &DbCluster) -> Vec<String> {
    let group = found.db_cluster_parameter_group().unwrap_or_default();
    let members = found.db_cluster_members().iter();
    let waiting = members.filter(|member| member.db_cluster_parameter_group_status() == Some("pending-reboot"));
    waiting
        .map(|member| format!("{group} on {}", member.db_instance_identifier().unwrap_or_default()))
        .collect()
}

/// What a restart does besides restarting.
pub fn restart_applies(waiting: &[String]) -> Option<String> {
    (!waiting.is_empty()).then(|| {
        format!(
            "parameters wait for a restart ({}): a restart puts them in force, whoever changed them",
            waiting.join(", ")
        )
    })
}

/// What a change of the retention of automated backups does besides.
pub fn retention(days: Option<i32>, then: Option<i32>) -> Vec<String> {
    let short = "it is not available for a moment, and sessions are cut".to_owned();
    match (days, then) {
        (Some(0), Some(then)) if then > 0 => vec![
            format!(
                "backup_retention 0 to {then}: automated backups begin; taken back, it is 0 again, which deletes those \
                 that were made until then"
            ),
            short,
        ],
        (Some(days), Some(0)) if days > 0 => vec![
            format!(
                "backup_retention {days} to 0: ITS AUTOMATED BACKUPS ARE DELETED, and there is no way back to a point in \
                 time any more; they do not come back"
            ),
            short,
        ],
        (Some(_) | None, Some(_) | None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_rds::types::{DbClusterMember, DbInstanceStatusInfo, DbParameterGroupStatus};

    use super::*;

    #[test]
    fn only_what_waits_for_a_restart_is_told() {
        let group = |name: &str, status: &str| {
            let group = DbParameterGroupStatus::builder().db_parameter_group_name(name);
            group.parameter_apply_status(status).build()
        };
        let found = DbInstance::builder()
            .db_parameter_groups(group("in-force", "in-sync"))
            .db_parameter_groups(group("tuned", "pending-reboot"))
            .build();
        assert_eq!(waiting_of_instance(&found), ["tuned"]);
        let member = |name: &str, status: &str| {
            let member = DbClusterMember::builder().db_instance_identifier(name);
            member.db_cluster_parameter_group_status(status).build()
        };
        let found = DbCluster::builder()
            .db_cluster_parameter_group("tuned")
            .db_cluster_members(member("one", "in-sync"))
            .db_cluster_members(member("two", "pending-reboot"))
            .build();
        assert_eq!(waiting_of_cluster(&found), ["tuned on two"]);
        assert_eq!(restart_applies(&[]), None);
    }

    #[test]
    fn a_replica_runs_only_where_rds_calls_it_normal_and_replicating() {
        let told = |kind: &str, normal: bool, status: &str| {
            let info = DbInstanceStatusInfo::builder().status_type(kind);
            let info = info.normal(normal).status(status).build();
            Replication::of(&DbInstance::builder().status_infos(info).build())
        };
        assert_eq!(told("something else", true, "replicating"), None);
        for (normal, status, runs) in [
            (true, "replicating", true),
            (false, "replicating", false),
            (true, "stopped", false),
            (false, "error", false),
        ] {
            let told = told("read replication", normal, status);
            assert_eq!(told.map(|told| told.runs()), Some(runs), "{normal} {status}");
        }
    }

    #[test]
    fn a_retention_that_neither_begins_nor_ends_says_nothing() {
        assert!(retention(Some(1), Some(7)).is_empty());
        assert!(retention(Some(0), Some(0)).is_empty());
        assert!(retention(Some(7), None).is_empty());
        assert!(retention(Some(7), Some(0)).concat().contains("ARE DELETED"));
        assert!(retention(Some(0), Some(7)).concat().contains("which deletes those"));
    }
}
