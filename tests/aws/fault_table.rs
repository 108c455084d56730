//! The faults of a night, and the tests that meet them: what a row promises is a test of that name in that file.

/// The fault, what has to come of it, where its test is, and the test.
const TABLE: &[(&str, &str, &str, &str)] = &[
    // AWS: a call that changes something.
    (
        "connection refused",
        "transient: nothing was sent",
        FAULTS,
        "a_refused_connection_is_transient",
    ),
    (
        "no connection in time",
        "transient",
        FAULTS,
        "a_connection_that_is_not_made_in_time_is_transient",
    ),
    (
        "reset before the request",
        "in doubt; reading finds that nothing happened",
        FAULTS,
        "a_reset_before_the_request_is_in_doubt_and_reading_says_that_nothing_happened",
    ),
    (
        "reset after the request: the effect happened",
        "in doubt, found, sent once",
        LOST,
        "a_reset_after_the_effect_is_in_doubt_and_found",
    ),
    (
        "applied, and the reply was cut",
        "in doubt, found, sent once",
        LOST,
        "a_cut_reply_is_in_doubt_and_found",
    ),
    (
        "applied, and the reply broke off, as AWS words it",
        "in doubt, found",
        MODELLED,
        "what_was_applied_while_its_reply_broke_off_is_found",
    ),
    (
        "applied, and the reply is garbage",
        "in doubt, found",
        LOST,
        "a_reply_of_garbage_is_in_doubt_and_found",
    ),
    (
        "a failover whose reply was lost",
        "for a person: whose it was is not known",
        LOST,
        "a_failover_is_for_a_person",
    ),
    (
        "400, 403, expired credentials",
        "permanent, with the request's id",
        FAULTS,
        "a_refusal_is_permanent_and_tells_the_request",
    ),
    (
        "the same of a read",
        "permanent, asked once",
        FAULTS,
        "a_refused_read_is_permanent_and_not_tried_again",
    ),
    (
        "the same of DMS",
        "permanent",
        FAULTS,
        "a_refusal_of_dms_is_permanent_too",
    ),
    (
        "no credentials",
        "permanent: nothing was sent",
        FAULTS,
        "credentials_that_are_not_there_send_nothing",
    ),
    (
        "throttled",
        "transient, sent once",
        FAULTS,
        "throttling_is_transient_and_a_change_is_not_sent_again",
    ),
    (
        "500, then success",
        "in doubt, read, then sent anew",
        FAULTS,
        "an_error_of_the_server_leaves_a_change_in_doubt",
    ),
    (
        "500, throttling, a reset of a read",
        "tried again, then transient",
        FAULTS,
        "a_read_is_tried_again_and_ends_as_transient",
    ),
    (
        "408",
        "in doubt",
        FAULTS,
        "a_timeout_of_the_server_is_in_doubt_whatever_it_is_called",
    ),
    (
        "silence, 30 s unless the connection says otherwise",
        "in doubt, sent once",
        FAULTS,
        "silence_ends_after_the_connections_own_time",
    ),
    (
        "refused after it was accepted",
        "in doubt",
        FAULTS,
        "what_is_refused_after_it_was_accepted_is_in_doubt",
    ),
    (
        "success, and nothing of it comes; a promotion whose instance is still a replica",
        "in doubt",
        FAULTS,
        "a_success_that_is_none_is_in_doubt",
    ),
    (
        "the same promotion, by a peer that does so",
        "in doubt",
        CHANGES,
        "a_promotion_that_only_says_so_is_not_done",
    ),
    (
        "the same failover",
        "in doubt",
        CHANGES,
        "a_failover_that_only_says_so_is_not_done",
    ),
    (
        "classes by AWS's own models",
        "each its class",
        MODELLED,
        "what_the_models_say_has_the_class_that_it_has",
    ),
    (
        "another account",
        "nothing begins",
        IDENTITY,
        "nobody_starts_in_another_account",
    ),
    (
        "another region",
        "nothing begins",
        IDENTITY,
        "nobody_starts_in_another_region",
    ),
    (
        "a snapshot's name taken by another",
        "permanent",
        RDS,
        "a_name_taken_by_another_is_refused",
    ),
    (
        "a snapshot's name taken by ourselves before a crash",
        "adopted by its tag",
        RDS,
        "a_name_taken_by_ourselves_is_adopted",
    ),
    (
        "a snapshot that is not listed yet",
        "waited for",
        FAULTS,
        "a_snapshot_that_is_not_listed_yet_is_waited_for",
    ),
    (
        "a setting changed by another",
        "left alone",
        CHANGES,
        "what_somebody_set_since_is_not_taken_back",
    ),
    (
        "a record changed by another",
        "left alone",
        DNS,
        "what_somebody_else_changed_is_left_alone",
    ),
    (
        "a restore whose answer was lost",
        "nothing stays",
        RESTORE,
        "a_lost_answer_leaves_nothing",
    ),
    (
        "a whole night whose replies are lost",
        "everything once",
        PROGRAM,
        "a_rehearsal_whose_replies_are_lost_does_everything_once",
    ),
    // SSH.
    (
        "sshd killed in the middle of a command",
        "in doubt; its successor tells",
        CUT,
        "a_server_that_is_killed_is_in_doubt_and_its_successor_tells_the_truth",
    ),
    (
        "the connection cut in the middle",
        "in doubt; the command goes on",
        CUT,
        "a_cut_connection_is_in_doubt_and_the_command_goes_on_to_its_end",
    ),
    (
        "the keeper killed",
        "for a person",
        CUT,
        "without_its_keeper_it_runs_and_then_nobody_knows_how_it_ended",
    ),
    (
        "host key changed",
        "refused; nothing is said to it",
        TRUST,
        "a_changed_key_is_refused_loudly_and_nothing_is_said_to_it",
    ),
    (
        "another key than the approved one",
        "refused",
        TRUST,
        "another_key_than_the_approved_one_is_not_used_though_it_is_known",
    ),
    (
        "another machine of the same name",
        "for a person",
        PLACE,
        "another_machine_of_the_same_name_proves_nothing",
    ),
    (
        "no server",
        "transient",
        TRUST,
        "a_host_that_does_not_serve_may_be_tried_again",
    ),
    (
        "account or key refused",
        "permanent",
        TRUST,
        "who_is_not_let_in_has_begun_nothing",
    ),
    (
        "something that is no SSH server",
        "transient",
        TRUST,
        "who_is_no_ssh_server_is_told_so",
    ),
    (
        "the program killed in the middle",
        "goes on with what the command came to",
        SSH_NIGHT,
        "a_night_that_is_killed_goes_on_with_what_its_command_came_to",
    ),
    // HTTP and TCP: reads.
    (
        "connection refused",
        "transient",
        HTTP,
        "a_refused_connection_may_be_tried_again",
    ),
    ("reset", "transient", HTTP, "a_reset_connection_may_be_tried_again"),
    (
        "the end in the middle of a body",
        "transient",
        HTTP,
        "a_connection_that_ends_in_the_middle_may_be_tried_again",
    ),
    (
        "500, then success",
        "waited out",
        HTTP,
        "an_error_that_passes_within_the_time_is_waited_out",
    ),
    (
        "500 that stays",
        "told at the end",
        HTTP,
        "an_error_that_stays_is_told_when_the_time_is_over",
    ),
    (
        "429 with Retry-After",
        "left alone that long",
        HTTP,
        "a_server_that_asks_to_be_left_alone_is_asked_once_more_at_the_end",
    ),
    (
        "silence",
        "ends with its time",
        HTTP,
        "silence_ends_with_the_time_of_a_request",
    ),
    ("garbage", "told as such", HTTP, "what_is_no_http_is_told_as_such"),
    ("a body without end", "left", HTTP, "a_body_that_does_not_end_is_left"),
];

const FAULTS: &str = include_str!("faults.rs");
const LOST: &str = include_str!("lost_replies.rs");
const MODELLED: &str = include_str!("modelled_faults.rs");
const IDENTITY: &str = include_str!("identity.rs");
const RDS: &str = include_str!("rds.rs");
const CHANGES: &str = include_str!("rds_changes.rs");
const DNS: &str = include_str!("dns.rs");
const RESTORE: &str = include_str!("restore_test.rs");
const PROGRAM: &str = include_str!("program.rs");
const CUT: &str = include_str!("../ssh/cut.rs");
const TRUST: &str = include_str!("../ssh/trust.rs");
const PLACE: &str = include_str!("../ssh/place.rs");
const SSH_NIGHT: &str = include_str!("../ssh/night.rs");
const HTTP: &str = include_str!("../net/faults.rs");

/// Whether a file has a test of this name: marked as one, or named by a macro that runs it against a world.
fn has(file: &str, test: &str) -> bool {
    let mut marked = false;
    for line in file.lines().map(str::trim) {
        let named = line.contains(&format!("fn {test}("));
        if named && marked {
            return true;
        }
        if line.starts_with("on!(") && line.contains(test) {
            return file.contains(&format!("async fn {test}("));
        }
        marked = line.starts_with("#[tokio::test") || line.starts_with("#[test]") || (marked && line.starts_with("#["));
    }
    false
}

#[test]
fn every_fault_has_its_test() {
    for (fault, comes, file, test) in TABLE {
        assert!(has(file, test), "{fault} ({comes}): there is no test {test}");
    }
    assert!(!has(FAULTS, "refused"), "what is no test counts as none");
}
