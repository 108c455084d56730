//! What RDS refuses, by its codes: the same on the lab and on a peer; and what only the lab refuses as AWS does.

use aws_sdk_rds::error::ProvideErrorMetadata;

use crate::bench::{Bench, fresh, on};

on!(lab: names_that_are_taken_or_missing_are_refused);
on!(slow_lab: states_that_do_not_fit_are_refused);
on!(moto: names_that_are_taken_or_missing_are_refused);

/// The code of a refusal.
macro_rules! code {
    ($call:expr) => {{
        let error = $call.send().await.unwrap_err();
        error.code().unwrap_or_else(|| panic!("{error:?}")).to_owned()
    }};
}

async fn names_that_are_taken_or_missing_are_refused(bench: Bench) {
    let rds = bench.rds().await;
    let (instance, cluster) = (bench.names.instance.clone(), bench.names.cluster.clone());
    let taken = fresh("taken");
    let call = rds.create_db_snapshot().db_instance_identifier(&instance);
    call.db_snapshot_identifier(&taken).send().await.unwrap();
    let call = rds.create_db_cluster_snapshot().db_cluster_identifier(&cluster);
    call.db_cluster_snapshot_identifier(&taken).send().await.unwrap();
    let again = rds.create_db_snapshot().db_instance_identifier(&instance);
    assert_eq!(code!(again.db_snapshot_identifier(&taken)), "DBSnapshotAlreadyExists");
    let again = rds.create_db_cluster_snapshot().db_cluster_identifier(&cluster);
    let again = again.db_cluster_snapshot_identifier(&taken);
    assert_eq!(code!(again), "DBClusterSnapshotAlreadyExistsFault");
    let nobody = "no-such-db";
    let snapshot = rds.create_db_snapshot().db_instance_identifier(nobody);
    assert_eq!(code!(snapshot.db_snapshot_identifier("fresh")), "DBInstanceNotFound");
    let describe = rds.describe_db_instances().db_instance_identifier(nobody);
    assert_eq!(code!(describe), "DBInstanceNotFound");
    let describe = rds.describe_db_clusters().db_cluster_identifier(nobody);
    assert_eq!(code!(describe), "DBClusterNotFoundFault");
    let describe = rds
        .describe_db_cluster_snapshots()
        .db_cluster_snapshot_identifier(nobody);
    assert_eq!(code!(describe), "DBClusterSnapshotNotFoundFault");
    // One peer adds Fault to this one, AWS does not.
    let describe = rds.describe_db_snapshots().db_snapshot_identifier(nobody);
    assert_eq!(code!(describe).trim_end_matches("Fault"), "DBSnapshotNotFound");
    let delete = rds.delete_db_instance().db_instance_identifier(nobody);
    assert_eq!(code!(delete.skip_final_snapshot(true)), "DBInstanceNotFound");
    let failover = rds.failover_db_cluster().db_cluster_identifier(nobody);
    assert_eq!(code!(failover), "DBClusterNotFoundFault");
}

async fn states_that_do_not_fit_are_refused(bench: Bench) {
    let rds = bench.rds().await;
    let instance = bench.names.instance.clone();
    let promote = rds.promote_read_replica().db_instance_identifier(&instance);
    assert_eq!(code!(promote), "InvalidDBInstanceState");
    let failover = rds.reboot_db_instance().db_instance_identifier(&instance);
    assert_eq!(code!(failover.force_failover(true)), "InvalidParameterCombination");
    let delete = rds.delete_db_instance().db_instance_identifier(&instance);
    assert_eq!(
        code!(delete),
        "InvalidParameterCombination",
        "no final snapshot was named"
    );
    let modify = rds
        .modify_db_instance()
        .db_instance_identifier(&instance)
        .apply_immediately(true);
    assert_eq!(
        code!(modify.clone().backup_retention_period(36)),
        "InvalidParameterValue"
    );
    assert_eq!(
        code!(modify.clone().db_instance_class("large")),
        "InvalidParameterValue"
    );
    let restore = rds
        .restore_db_instance_from_db_snapshot()
        .db_snapshot_identifier("no-such-snapshot");
    assert_eq!(code!(restore.db_instance_identifier("fresh")), "DBSnapshotNotFound");
    let create = rds.create_db_snapshot().db_instance_identifier(&instance);
    create.db_snapshot_identifier("young").send().await.unwrap();
    let restore = rds
        .restore_db_instance_from_db_snapshot()
        .db_snapshot_identifier("young");
    let young = code!(restore.clone().db_instance_identifier("fresh"));
    assert_eq!(young, "InvalidDBSnapshotState");
    modify.clone().backup_retention_period(3).send().await.unwrap();
    // It says available for a while, as RDS does, and takes nothing else.
    assert_eq!(code!(modify.backup_retention_period(4)), "InvalidDBInstanceState");
    let member = rds.failover_db_cluster().db_cluster_identifier(&bench.names.cluster);
    let member = code!(member.target_db_instance_identifier("nobody"));
    assert_eq!(member, "InvalidDBClusterStateFault");
    let delete = rds.delete_db_instance().skip_final_snapshot(true);
    let delete = delete.db_instance_identifier(&bench.names.replica);
    delete.clone().send().await.unwrap();
    assert_eq!(code!(delete), "InvalidDBInstanceState", "it is being deleted");
}
