//! What `check` warns of: gates that the people of an environment cannot fill, and names with letters that may pass for
//! others. None of it makes a runbook bad. Also what a check over the network has to say before the night.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use chrono::Utc;
use pointsman::provider::catalogue;
use pointsman::runbook::check;
use pointsman::runbook::fault::Severity;
use support::Place;

/// `line:col: words` of every warning or error of a runbook.
fn told(text: &str, severity: Severity) -> Vec<String> {
    let faults = check(text.as_bytes(), None, &catalogue(), Utc::now());
    let each = faults.iter().filter(|fault| fault.severity == severity);
    each.map(|fault| format!("{}:{}: {}", fault.place.line, fault.place.col, fault.message))
        .collect()
}

fn warned(text: &str) -> Vec<String> {
    assert_eq!(told(text, Severity::Error), Vec::<String>::new(), "{text}");
    told(text, Severity::Warning)
}

/// One step whose gate is given, in an environment with four persons.
fn gated(kind: &str, gate: &str) -> String {
    format!(
        "version: 1\nname: gates\nauthor: ana\nenvironments:\n  env: {{ kind: {kind} }}\npeople:\n  \
         ana: {{ org: client, roles: [dba, lead] }}\n  bea: {{ org: client, roles: [dba] }}\n  \
         carl: {{ org: consultancy, roles: [dba] }}\n  olga: {{ roles: [operator] }}\nphases:\n  - id: one\n    \
         title: One\n    steps:\n      - id: ask\n        title: Ask\n        uses: manual.decision\n        \
         with: {{ question: Go? }}\n        gate: {gate}\n      \
         - id: look\n        title: Look\n        uses: tcp.check\n        with: {{ host: localhost, port: 9 }}\n        \
         gate: {{ none: it reads }}\n"
    )
}

#[test]
fn a_gate_that_the_people_fill_is_not_warned_of() {
    for gate in [
        "{ approve: { roles: [dba], min: 3 } }",
        "{ approve: { roles: [dba, lead], min: 3 } }",
        "{ approve: { roles: [dba], min: 2, org: client } }",
        "{ approve: { roles: [dba], min: 2, distinct_from: [author] } }",
        // Olga can operate.
        "{ approve: { roles: [dba], min: 3, distinct_from: [operator] } }",
        "{ phrase: go }",
    ] {
        assert_eq!(warned(&gated("rehearsal", gate)), Vec::<String>::new(), "{gate}");
    }
}

#[test]
fn a_quorum_that_cannot_be_reached_is_warned_of_at_its_number() {
    for (gate, words) in [
        (
            "{ approve: { roles: [dba], min: 4 } }",
            "19:47: this gate cannot be filled: it needs 4 persons as dba, and only ana, bea, carl fit",
        ),
        (
            // Ana has both roles and one vote.
            "{ approve: { roles: [dba, lead], min: 4 } }",
            "19:53: this gate cannot be filled: it needs 4 persons as dba or lead, and only ana, bea, carl fit",
        ),
        (
            "{ approve: { roles: [lead], org: consultancy } }",
            "19:26: this gate cannot be filled: it needs 1 person of consultancy as lead, and nobody fits",
        ),
        (
            "{ approve: { roles: [dba], min: 2, distinct_from: [author, carl] } }",
            "19:47: this gate cannot be filled: it needs 2 persons as dba, and only bea fits",
        ),
        (
            "{ approve: { roles: [dba, operator], min: 4, distinct_from: [operator] } }",
            "19:57: this gate cannot be filled: it needs 4 persons as dba or operator, and only ana, bea, carl, olga fit, \
             of whom one has to operate",
        ),
        (
            "{ expires: 5m, timeout: escalate, approve: { roles: [dba] }, escalate: { roles: [lead], min: 2 } }",
            "19:108: this gate cannot be filled: it needs 2 persons as lead, and only ana fits",
        ),
    ] {
        assert_eq!(warned(&gated("rehearsal", gate)), [words], "{gate}");
    }
}

#[test]
fn a_role_that_nobody_holds_is_warned_of_where_it_stands() {
    let gate = "{ approve: { roles: [dba, network], min: 2 } }";
    let words = "19:41: nobody in this environment holds the role network";
    assert_eq!(warned(&gated("rehearsal", gate)), [words]);
    // Nobody at all is said once.
    let gate = "{ approve: { roles: network } }";
    assert_eq!(
        warned(&gated("rehearsal", gate)),
        ["19:35: nobody in this environment holds the role network"]
    );
}

#[test]
fn every_gate_of_the_run_is_looked_at() {
    let gates = "unwind_gate: { approve: { roles: [sponsor] } }\n\
                 point_of_no_return: { approve: { roles: [dba], min: 5 } }\n\
                 commit: { gate: { approve: { roles: [lead], min: 2 } } }\n";
    let text = format!("{}{gates}", gated("rehearsal", "{ phrase: go }"));
    let told = warned(&text);
    assert_eq!(told.len(), 3, "{told:?}");
    for (told, words) in told
        .iter()
        .zip(["25:35: nobody", "26:53: this gate cannot", "27:50: this gate cannot"])
    {
        assert!(told.starts_with(words), "{told}");
    }
}

#[test]
fn the_lab_has_a_persona_for_every_role() {
    let gate = "{ approve: { roles: [network], min: 9 } }";
    assert_eq!(warned(&gated("lab", gate)), Vec::<String>::new());
}

fn polled(with: &str) -> String {
    let text = gated("rehearsal", "{ expires: 30m }");
    text.replace("manual.decision", "manual.poll")
        .replace("{ question: Go? }", &format!("{{ question: Go?, {with} }}"))
}

#[test]
fn a_poll_needs_somebody_for_each_role() {
    for (with, words) in [
        ("roles: [lead, dba]", vec![]),
        ("roles: [lead, network], deputies: { network: [olga] }", vec![]),
        (
            "roles: [lead, network], quorum: 1",
            vec!["18:46: nobody in this environment holds the role network"],
        ),
        (
            "roles: [lead, network]",
            vec![
                "18:15: this poll cannot be decided: 2 roles have to say go, and 1 can be answered for (nobody answers \
                 for two)",
                "18:46: nobody in this environment holds the role network",
            ],
        ),
    ] {
        assert_eq!(warned(&polled(with)), words, "{with}");
    }
}

#[test]
fn names_that_may_pass_for_others_are_warned_of() {
    // The e of the second, third and fourth is Cyrillic.
    for (host, warns) in [("erp.example.com", false), ("\u{435}rp.example.com", true)] {
        let text = format!(
            "version: 1\nname: names\nvars: {{ record: {host} }}\nconnections:\n  app: {{ uses: http, url: \"https://{host}/\" \
             }}\n  aws: {{ uses: aws, region: us-east-1, account: \"123456789012\" }}\nenvironments:\n  env: {{ kind: \
             rehearsal }}\nphases:\n  - id: one\n    title: One\n    steps:\n      - id: look\n        title: Look\n        \
             uses: dns.lookup\n        on: aws\n        with: {{ record: \"${{ vars.record }}\" }}\n        gate: {{ none: it \
             reads }}\n      - id: open\n        title: Open\n        uses: tcp.check\n        with: {{ host: {host}, port: \
             443 }}\n        gate: {{ none: it reads }}\n      - id: page\n        title: Page\n        uses: http.check\n        \
             with: {{ url: \"https://{host}/caf\u{e9}\" }}\n        gate: {{ none: it reads }}\n"
        );
        let places: Vec<String> = warned(&text);
        let wanted = [
            "5:27: the url of app has letters that are not ASCII",
            "17:25: the record of dns.lookup has letters that are not ASCII",
            "22:23: the host of tcp.check has letters that are not ASCII",
            "27:22: the url of http.check has letters that are not ASCII",
        ];
        let wanted: &[&str] = if warns { &wanted } else { &[] };
        assert_eq!(places, wanted);
    }
}

#[test]
fn the_program_warns_and_calls_the_runbook_sound() {
    let place = Place::new();
    let file = place.path("gates.yaml");
    fs::write(&file, gated("rehearsal", "{ approve: { roles: [dba], min: 4 } }")).unwrap();
    let file = file.display().to_string();
    let ended = place.program(&["check", &file]).expect(0);
    let all = format!("{}{}", ended.out, ended.err);
    assert!(
        all.contains("gates.yaml:19:47: warning: this gate cannot be filled"),
        "{all}"
    );
    assert!(all.contains("1 warning"), "{all}");
}

/// A check over the network in an environment of a kind.
fn asking(kind: &str, uses: &str, rest: &str) -> String {
    format!(
        "version: 1\nname: net\nconnections:\n  app: {{ uses: http, url: \"http://127.0.0.1:1\" }}\nenvironments:\n  env: {{ \
         kind: {kind} }}\nphases:\n  - id: one\n    title: One\n    steps:\n      - id: ask\n        title: Ask\n        \
         uses: {uses}\n{rest}        gate: {{ none: it reads }}\n"
    )
}

#[test]
fn a_check_that_cannot_be_asked_is_found_before_the_night() {
    for (uses, rest, words) in [
        ("http.check", "", "11:9: http.check does not say where"),
        (
            "http.check",
            "        on: app\n        with: { url: \"http://127.0.0.1/\" }\n",
            "15:22: http.check names a connection and a url",
        ),
        (
            "http.check",
            "        with: { url: \"http://127.0.0.1/\", tls_valid_for: 14d }\n",
            "14:58: there is no certificate over plain http",
        ),
        (
            "http.check",
            "        on: app\n        with: { status: 2x }\n",
            "15:25: status is \"2x\", it must be 200, 2xx or a list of these",
        ),
        (
            "http.check",
            "        on: app\n        with: { method: POST }\n",
            "15:25: method is \"POST\"",
        ),
        (
            "tcp.check",
            "        with: { host: localhost }\n",
            "11:9: tcp.check does not say where",
        ),
        (
            "tcp.check",
            "        with: { host: localhost, port: 9, expect_refused: true, tls: true }\n",
            "14:70: who refuses shows nothing that tls could be held against",
        ),
    ] {
        let told = told(&asking("rehearsal", uses, rest), Severity::Error);
        assert!(told.len() == 1 && told[0].starts_with(words), "{words}: {told:?}");
    }
}

#[test]
fn the_lab_refuses_what_is_not_loopback_unless_it_is_replaced() {
    let away = "        with: { url: \"https://erp.example.com/health\" }\n";
    let words = "14:22: the lab reaches nothing but loopback, and erp.example.com is elsewhere";
    assert_eq!(told(&asking("lab", "http.check", away), Severity::Error), [words]);
    assert_eq!(warned(&asking("rehearsal", "http.check", away)), Vec::<String>::new());
    let replaced = format!("{away}        lab: {{ uses: http.check, on: app, with: {{ path: /health }} }}\n");
    assert_eq!(warned(&asking("lab", "http.check", &replaced)), Vec::<String>::new());
    for host in ["localhost", "127.0.0.1", "\"::1\""] {
        let here = format!("        with: {{ host: {host}, port: 9 }}\n");
        assert_eq!(
            warned(&asking("lab", "tcp.check", &here)),
            Vec::<String>::new(),
            "{host}"
        );
    }
}

#[test]
fn a_proof_of_the_preflight_lasts_longer_than_a_look_and_an_approval_take() {
    let asks = |lasts: &str| {
        let line = format!("name: gates\npreflight: {{ valid_for: {lasts} }}\n");
        gated("rehearsal", "{ phrase: go }").replace("name: gates\n", &line)
    };
    assert_eq!(warned(&asks("30m")), Vec::<String>::new());
    let short = told(&asks("4m"), Severity::Error);
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(
        short[0].contains("valid for 4m is over before anybody can approve"),
        "{short:?}"
    );
}
