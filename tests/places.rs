//! Where AWS connections may lie, and what an RDS action is about: found at check time, with its place.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Ended, Place};

const RUNBOOK: &str = "version: 1
name: places
title: Places
residency: [sa-east-1, us-east-1]
environments:
  lab: { kind: lab }
  staging: { kind: rehearsal }
connections:
  aws: { uses: aws, region: sa-east-1, account: \"123456789012\" }
  other:
    uses: aws
    account: \"123456789012\"
    region: us-east-1
phases:
  - id: look
    title: Look
    steps:
      - id: one
        title: One
        uses: rds.describe
        on: aws
        with: { instance: erp }
";

/// Checks the runbook with pieces replaced.
#[track_caller]
fn check(environment: &str, pieces: &[(&str, &str)]) -> Ended {
    let place = Place::new();
    let mut text = RUNBOOK.to_owned();
    for (from, to) in pieces {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let path = place.path("places.yaml");
    std::fs::write(&path, text).unwrap();
    place.program(&["check", &path.display().to_string(), "--env", environment])
}

#[track_caller]
fn told(environment: &str, pieces: &[(&str, &str)], place: &str, words: &str) {
    let ended = check(environment, pieces).expect(2);
    let all = format!("{}{}", ended.out, ended.err);
    assert!(all.contains(&format!("places.yaml:{place}")), "{all}");
    assert!(all.contains(words), "{all}");
}

#[test]
fn every_aws_connection_lies_where_the_residency_allows() {
    check("staging", &[]).expect(0);
    // Whether a step uses it or not, in a line of its own or not.
    told(
        "staging",
        &[("region: us-east-1", "region: eu-west-1")],
        "13:13",
        "connection other is in eu-west-1, outside of the residency",
    );
    told(
        "staging",
        &[("region: sa-east-1, ", "region: us-west-2, ")],
        "9:29",
        "allowed: sa-east-1, us-east-1",
    );
    // A region that comes out of a variable is what it is.
    told(
        "staging",
        &[
            (
                "residency: [sa-east-1, us-east-1]",
                "residency: [sa-east-1, us-east-1]\nvars: { where: eu-west-1 }",
            ),
            ("region: us-east-1", "region: \"${ vars.where }\""),
        ],
        "14:13",
        "connection other is in eu-west-1",
    );
    // An environment's own connection counts like a shared one.
    told(
        "staging",
        &[(
            "{ kind: rehearsal }",
            "{ kind: rehearsal, connections: { aws: { uses: aws, region: eu-west-1, account: \"123456789012\" } } }",
        )],
        "7:72",
        "connection aws is in eu-west-1",
    );
    told(
        "staging",
        &[("region: sa-east-1, ", "")],
        "9:8",
        "connection aws names no region",
    );
    // The lab replaces them all.
    check("lab", &[("region: sa-east-1, ", "region: eu-west-1, ")]).expect(0);
}

#[test]
fn how_long_a_call_may_take_is_a_duration() {
    check(
        "staging",
        &[("region: us-east-1", "region: us-east-1\n    timeout: 10s")],
    )
    .expect(0);
    for wrong in ["soon", "0s", "30"] {
        let timeout = format!("region: us-east-1\n    timeout: {wrong}");
        told(
            "staging",
            &[("region: us-east-1", &timeout)],
            "14:14",
            "the timeout of other is",
        );
    }
}

#[test]
fn an_rds_action_is_about_an_instance_or_a_cluster() {
    check("staging", &[("{ instance: erp }", "{ cluster: erp }")]).expect(0);
    told(
        "staging",
        &[("{ instance: erp }", "{ expect: status == 'available' }")],
        "22:15",
        "rds.describe needs the parameter instance or cluster",
    );
    told(
        "staging",
        &[("{ instance: erp }", "{ instance: erp, cluster: erp }")],
        "22:32",
        "rds.describe takes either instance or cluster",
    );
    // What cannot be put back is no parameter.
    told(
        "staging",
        &[
            ("uses: rds.describe", "uses: rds.modify"),
            ("{ instance: erp }", "{ instance: erp, engine_version: \"8.4\" }"),
        ],
        "22:32",
        "rds.modify has no parameter \"engine_version\"",
    );
}
