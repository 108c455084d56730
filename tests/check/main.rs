//! Bad runbooks: every fault is found at once, with its place, and nothing is executed. Each case is the sound fixture
//! with pieces replaced.
#![expect(clippy::unwrap_used, reason = "tests")]

mod connections;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::Place;

const SOUND: &str = include_str!("../fixtures/sound.yaml");

struct Case {
    name: &'static str,
    pieces: &'static [(&'static str, &'static str)],
    /// `line:col` and words of each error, in order; no other error may be told.
    told: &'static [(&'static str, &'static str)],
}

const fn case(
    name: &'static str,
    pieces: &'static [(&'static str, &'static str)],
    told: &'static [(&'static str, &'static str)],
) -> Case {
    Case { name, pieces, told }
}

const QUERY: &str = "        uses: sql.query\n        on: source\n        with:\n          sql: select 1\n        outputs: { rows: result.rows }\n";

const CASES: &[Case] = &[
    case(
        "anchor",
        &[("title: First", "title: &x First")],
        &[("14:19", "anchors are not allowed")],
    ),
    case("alias", &[("who: world", "who: *x")], &[("4:14", "unknown anchor")]),
    case(
        "merge key",
        &[("{ kind: lab }", "{ <<: {}, kind: lab }")],
        &[("9:10", "merge keys are not allowed")],
    ),
    case(
        "duplicate key",
        &[("        title: First\n", "        title: First\n        title: Again\n")],
        &[("15:9", "the key \"title\" is here twice")],
    ),
    case(
        "duplicate id",
        &[("id: second", "id: first")],
        &[("20:13", "the step id first is here twice")],
    ),
    case(
        "id that differs by case only",
        &[("id: second", "id: First")],
        &[("20:13", "\"First\" is no step id"), ("20:13", "is here twice")],
    ),
    case(
        "unknown field",
        &[("title: First", "titel: First")],
        &[("14:9", "did you mean title?")],
    ),
    case(
        "unknown parameter at its own line",
        &[("sql: select 1", "sql: select 1\n          parms: [1]")],
        &[("19:11", "did you mean params?")],
    ),
    case(
        "two faults in one file",
        &[
            ("title: First", "titel: First"),
            ("          params: [1]", "          parms: [1]"),
        ],
        &[
            ("14:9", "a step has no field \"titel\""),
            ("26:11", "sql.exec has no parameter \"parms\""),
        ],
    ),
    case(
        "unknown action",
        &[("sql.query", "sql.qery")],
        &[("15:15", "did you mean sql.query?")],
    ),
    case(
        "tag",
        &[("title: First", "title: !secret First")],
        &[("14:24", "tags are not allowed")],
    ),
    case(
        "boolean in words",
        &[("kind: lab", "kind: lab, auto_approve: yes")],
        &[("9:35", "write true or false")],
    ),
    case(
        "integer out of range",
        &[(
            "        on: source\n",
            "        on: source\n        retry: { max: 99999999999999999999 }\n",
        )],
        &[("17:23", "is out of range")],
    ),
    case(
        "not a number",
        &[("params: [1]", "params: [.nan]")],
        &[("26:20", "write a finite number")],
    ),
    case(
        "log retention that is no duration",
        &[("{ kind: lab }", "{ kind: lab, log_retention: always }")],
        &[("9:36", "log_retention is always, not a duration")],
    ),
    case(
        "misspelt reverse drain",
        &[("{ kind: lab }", "{ kind: lab, revers_drain: 10m }")],
        &[("9:21", "did you mean reverse_drain?")],
    ),
    case(
        "negative duration",
        &[("        on: source\n", "        on: source\n        timeout: -5s\n")],
        &[("17:18", "timeout is -5s, not a duration")],
    ),
    case(
        "too deep",
        &[(
            "who: world",
            "who: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        )],
        &[("4:44", "nested deeper than 32 levels")],
    ),
    case(
        "two documents",
        &[("it is a test }\n", "it is a test }\n---\nversion: 1\n")],
        &[("28:1", "a second document")],
    ),
    case(
        "cycle",
        &[
            ("title: First", "needs: [second]\n        title: First"),
            ("title: Second", "needs: [first]\n        title: Second"),
        ],
        &[("14:16", "first → second → first")],
    ),
    case(
        "unknown need",
        &[("title: Second", "needs: [frist]\n        title: Second")],
        &[("21:17", "did you mean first?")],
    ),
    case(
        "control character",
        &[("title: First", "title: \"Fi\\e[31mrst\"")],
        &[("14:16", "not seen (\\u{1b})")],
    ),
    case(
        "bidirectional character",
        &[("title: First", "title: \"Fi\u{202e}rst\"")],
        &[("14:16", "not seen (\\u{202e})")],
    ),
    case(
        "expression inside SQL",
        &[("sql: select 1", "sql: select ${ vars.who }")],
        &[("18:16", "an expression inside SQL text")],
    ),
    case(
        "expression inside a shell's program",
        &[(
            QUERY,
            "        uses: shell.command\n        effect: read\n        lab: { uses: sql.query, on: source, with: { sql: select 1 } }\n        with:\n          argv: [sh, -c, \"echo ${ vars.who }\"]\n",
        )],
        &[("19:26", "an expression inside a shell's program")],
    ),
    case(
        "argument that may be an option",
        &[
            ("who: world", "who: -rf"),
            (
                QUERY,
                "        uses: shell.command\n        effect: read\n        lab: { uses: sql.query, on: source, with: { sql: select 1 } }\n        with:\n          argv: [echo, \"${ vars.who }\"]\n",
            ),
        ],
        &[("19:24", "may begin with -")],
    ),
    case(
        "command without a substitute in the lab",
        &[(
            QUERY,
            "        uses: shell.command\n        effect: read\n        with: { argv: [date] }\n",
        )],
        &[("13:9", "does not run in the lab without a substitute")],
    ),
    case(
        "expression inside another host's shell's program",
        &[
            (
                QUERY,
                "        uses: ssh.command\n        on: house\n        effect: read\n        lab: { uses: sql.query, on: source, with: { sql: select 1 } }\n        with:\n          argv: [sh, -c, \"echo ${ vars.who }\"]\n",
            ),
            (
                "target: { uses: sqlite, path: target.db }",
                "house: { uses: ssh, host: h, user: u, agent: true }",
            ),
        ],
        &[("20:26", "an expression inside a shell's program")],
    ),
    case(
        "other host without a substitute in the lab",
        &[
            (
                QUERY,
                "        uses: ssh.command\n        on: house\n        effect: read\n        with: { argv: [date] }\n",
            ),
            (
                "target: { uses: sqlite, path: target.db }",
                "house: { uses: ssh, host: h, user: u, agent: true }",
            ),
        ],
        &[
            ("13:9", "does not run in the lab without a substitute"),
            ("16:13", "the lab has no connection house"),
        ],
    ),
    case(
        "undefined variable",
        &[("params: [1]", "params: [\"${ vars.whom }\"]")],
        &[("26:20", "`vars.whom` is not defined")],
    ),
    case(
        "literal secret",
        &[(
            "target: { uses: sqlite, path: target.db }",
            "target: { uses: mysql, host: h, user: u, database: d, password: hunter2hunter2 }",
        )],
        &[("7:67", "a literal secret stands in password")],
    ),
    case(
        "newer format",
        &[("version: 1", "version: 2")],
        &[("1:10", "format version 2 is not known")],
    ),
    case(
        "mutation without a rollback",
        &[("        rollback: { not_needed: it is a test }\n", "")],
        &[("20:9", "step second changes something and has no rollback")],
    ),
    case(
        "window that closes before it opens",
        &[(
            "kind: lab",
            "kind: lab, window: { opens: 2130-01-02T00:00:00Z, closes: 2130-01-01T00:00:00Z }",
        )],
        &[("9:68", "closes before it opens")],
    ),
    case(
        "window that is over",
        &[(
            "kind: lab",
            "kind: lab, window: { opens: 2020-01-01T00:00:00Z, closes: 2020-01-02T00:00:00Z }",
        )],
        &[("9:68", "the window is over")],
    ),
    case(
        "unknown time zone",
        &[(
            "kind: lab",
            "kind: lab, window: { opens: 2130-01-01T00:00:00Z, closes: 2130-01-02T00:00:00Z, timezone: America/Sao_Paolo }",
        )],
        &[("9:100", "did you mean America/Sao_Paulo?")],
    ),
    case(
        "two environments of one name",
        &[("  lab: { kind: lab }", "  lab: { kind: lab }\n  lab: { kind: lab }")],
        &[("10:3", "twice")],
    ),
    case(
        "output of a step that is not needed",
        &[
            ("title: Second", "needs: []\n        title: Second"),
            ("params: [1]", "params: [\"${ steps.first.outputs.rows }\"]"),
        ],
        &[("27:20", "which it does not need")],
    ),
    case(
        "unreadable predicate",
        &[
            ("sql.query", "sql.assert"),
            ("sql: select 1", "sql: select 1\n          expect: rows = 0"),
        ],
        &[("19:19", "this predicate cannot be read")],
    ),
    case(
        "a poll under an approval",
        &[(
            QUERY,
            "        uses: manual.poll\n        with: { question: Go?, roles: [lead, dba] }\n        gate: { approve: { roles: [lead] }, phrase: go, timeout: escalate, escalate: { roles: [lead] } }\n",
        )],
        &[
            ("17:26", "it takes no approve"),
            ("17:53", "it takes no phrase"),
            ("17:66", "a poll's timeout is hold or reject"),
            ("17:86", "it takes no escalate"),
        ],
    ),
    case(
        "a poll that asks nobody",
        &[(
            QUERY,
            "        uses: manual.poll\n        with: { question: Go?, roles: [] }\n        gate: none\n",
        )],
        &[("16:39", "the poll names no role"), ("17:15", "the poll itself")],
    ),
    case(
        "a poll with a quorum, roles and deputies that do not fit",
        &[(
            QUERY,
            "        uses: manual.poll\n        with:\n          question: Go?\n          roles: [lead, dba, lead]\n          quorum: 4\n          deputies: { dbo: [ana] }\n",
        )],
        &[
            ("18:30", "the role lead is here twice"),
            ("19:19", "a quorum of 4 cannot be reached by 3 roles"),
            ("20:28", "did you mean dba?"),
        ],
    ),
    case(
        "a poll whose parameters are no good",
        &[(
            QUERY,
            "        uses: manual.poll\n        with: { question: Go?, role: [lead], no_go: halt, deputies: { dba: ana } }\n",
        )],
        &[
            ("16:15", "needs the parameter roles"),
            ("16:32", "did you mean roles?"),
            ("16:53", "ask or stop"),
            ("16:69", "a map of lists of texts"),
        ],
    ),
    case(
        "a poll that changes something",
        &[(
            QUERY,
            "        uses: manual.poll\n        with: { question: Go?, roles: [lead] }\n        effect: mutate\n        writes_on_target: begins\n        divergence: { on: source, sql: select 1 }\n        rollback: { not_needed: it asks }\n",
        )],
        &[
            ("17:17", "answered by people"),
            ("18:27", "it opens nothing"),
            ("19:21", "it writes nothing"),
            ("20:19", "nothing to undo"),
        ],
    ),
    case(
        "a poll over a role from a step",
        &[(
            QUERY,
            "        uses: manual.poll\n        with: { question: Go?, roles: [lead], no_go: \"${ steps.second.outputs.x }\" }\n",
        )],
        &[
            ("16:54", "no_go must be known before the run"),
            ("16:54", "has no output x"),
            ("16:54", "does not need"),
        ],
    ),
    case(
        "a poll as a rollback",
        &[(
            "{ not_needed: it is a test }",
            "{ uses: manual.poll, with: { question: Go?, roles: [lead] } }",
        )],
        &[("27:27", "a rollback cannot be a poll")],
    ),
];

/// Both `check` and `run` tell every error with its place, exit 2 and leave no run behind.
#[track_caller]
fn refused(place: &Place, name: &str, bytes: &[u8], told: &[(&str, &str)]) {
    let path = place.path("bad.yaml");
    fs::write(&path, bytes).unwrap();
    let file = path.display().to_string();
    let checks = [
        vec!["check", &file],
        vec!["run", &file, "--env", "lab", "--headless", "--approve-all"],
    ];
    for arguments in checks {
        let ended = place.program(&arguments);
        assert_eq!(ended.code, 2, "{name}: {}", ended.err);
        let mark = format!("{file}:");
        let pieces: Vec<&str> = ended.err.split(&mark).skip(1).collect();
        assert_eq!(pieces.len(), told.len(), "{name}: {}", ended.err);
        for (piece, (at, words)) in pieces.iter().zip(told) {
            assert!(
                piece.starts_with(&format!("{at}: error: ")),
                "{name} at {at}: {}",
                ended.err
            );
            assert!(piece.contains(words), "{name}, {words}: {}", ended.err);
        }
        assert_eq!(ended.out, "", "{name}");
        assert!(!place.path("state").exists(), "{name}: something was begun");
    }
}

#[test]
fn the_fixture_itself_is_sound() {
    let place = Place::new();
    fs::write(place.path("sound.yaml"), SOUND).unwrap();
    let file = place.path("sound.yaml").display().to_string();
    let ended = place.program(&["check", &file]).expect(0);
    assert!(ended.out.contains("no errors"), "{}", ended.out);
}

#[test]
fn every_fault_is_told_with_its_place_and_nothing_is_executed() {
    let place = Place::new();
    for case in CASES.iter().chain(connections::CASES) {
        let mut text = SOUND.to_owned();
        for (from, to) in case.pieces {
            assert!(text.contains(from), "{}: the fixture has no {from}", case.name);
            text = text.replacen(from, to, 1);
        }
        refused(&place, case.name, text.as_bytes(), case.told);
    }
}

#[test]
fn bytes_that_are_no_runbook_are_refused() {
    let place = Place::new();
    let utf16: Vec<u8> = "\u{feff}version: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bom = [b"\xef\xbb\xbf", SOUND.as_bytes()].concat();
    let latin = SOUND.replacen("First", "F\u{1}rst", 1).into_bytes();
    let latin: Vec<u8> = latin
        .into_iter()
        .map(|byte| if byte == 1 { 0xff } else { byte })
        .collect();
    let large = format!("{SOUND}# {}\n", "x".repeat(1024 * 1024));
    refused(&place, "UTF-16", &utf16, &[("1:1", "UTF-16")]);
    refused(&place, "byte order mark", &bom, &[("1:1", "byte order mark")]);
    refused(&place, "not UTF-8", &latin, &[("14:17", "not UTF-8")]);
    refused(&place, "too large", large.as_bytes(), &[("1:1", "larger than 1 MiB")]);
    refused(&place, "empty", b"", &[("1:1", "the runbook is empty")]);
    refused(&place, "only a comment", b"# nothing\n", &[("1:1", "")]);
}

#[test]
fn what_is_no_plain_file_or_anybodys_is_refused() {
    let place = Place::new();
    let fifo = place.path("fifo").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let open = place.path("open.yaml");
    fs::write(&open, SOUND).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let folder = place.path(".").display().to_string();
    let missing = place.path("missing.yaml").display().to_string();
    let cases = [
        (fifo, "not a plain file"),
        ("/dev/zero".to_owned(), "not a plain file"),
        (folder, "not a plain file"),
        (missing, "No such file"),
        (open.display().to_string(), "chmod o-w"),
    ];
    for (path, words) in cases {
        let ended = place.program(&["check", &path]).expect(2);
        assert!(ended.err.contains(&format!("{path}:1:1: ")), "{path}: {}", ended.err);
        assert!(ended.err.contains(words), "{path}: {}", ended.err);
    }
}
