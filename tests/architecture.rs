//! The map of the crate, held by reading its `use` lines and paths: who may know whom, which room names which library,
//! and that no file outgrows its room.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and what of the crate each may name. Longer paths come first: they are rooms within rooms.
const MAY: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "cli",
            "engine",
            "frontend",
            "journal",
            "lab",
            "projection",
            "provider",
            "report",
            "run",
            "runbook",
        ],
    ),
    (
        "frontend",
        &[
            "frontend",
            "engine::handle",
            "projection",
            "run",
            "runbook",
            "provider::action",
        ],
    ),
    ("report", &["report", "projection", "run", "runbook"]),
    ("projection", &["projection", "run", "runbook"]),
    (
        "engine",
        &[
            "engine",
            "run",
            "runbook",
            "journal",
            "provider::action",
            "provider::preflight",
        ],
    ),
    ("journal", &["journal", "run"]),
    ("provider", &["provider", "runbook"]),
    ("run", &["run"]),
    ("runbook", &["runbook"]),
    ("lab", &["lab"]),
];

/// Rooms that know no tokio, no clock, no I/O, no randomness.
const PURE: &[&str] = &["run/", "runbook/", "projection/", "report/", "journal/chain.rs"];
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "Utc::now",
    "Local::now",
    "SystemTime",
    "Instant",
    "rand::",
];

/// Libraries and the only rooms that may name them.
const ONLY: &[(&str, &[&str])] = &[
    ("aws_sdk_", &["provider/"]),
    ("aws_config", &["provider/"]),
    ("rusqlite", &["provider/sql/", "lab/"]),
    ("hickory_server::", &["lab/"]),
    ("hickory_net::", &["provider/dns/", "lab/"]),
    ("hickory_proto::", &["provider/dns/", "lab/"]),
    ("axum", &["lab/"]),
    ("ssh2::", &["provider/ssh/"]),
    (
        "reqwest",
        &["provider/http/", "provider/preflight/", "provider/aws/", "lab/"],
    ),
    // PostgreSQL's driver is handed its TLS.
    (
        "rustls",
        &[
            "provider/tls/",
            "provider/tcp/",
            "provider/http/",
            "provider/sql/postgres/",
            "provider/sql/mysql/",
        ],
    ),
    ("tokio_postgres", &["provider/sql/postgres/", "provider/sql/freeze/"]),
    ("mysql_async", &["provider/sql/mysql/", "provider/sql/freeze/"]),
    ("mysql_common", &["provider/sql/mysql/"]),
    ("aws_lc_rs::rsa", &["provider/sql/mysql/"]),
    (
        "tiberius",
        &[
            "provider/sql/sqlserver/",
            "provider/sql/freeze/",
            "provider/sql/backup/",
        ],
    ),
    ("x509_cert", &["provider/tls/"]),
    ("ratatui", &["frontend/tui/"]),
    ("crossterm", &["frontend/tui/"]),
    ("clap", &["cli/"]),
    ("serde_yaml", &["runbook/parse.rs"]),
    ("Utc::now", &["engine/", "provider/", "frontend/", "cli/", "lab/"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path under `src`, and its code without comments.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source()).unwrap().display().to_string();
                let text = fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                found.push((name, code.join("\n")));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
}

/// Everything that a file names of its own crate: `crate::a::b`, and each branch of `crate::{a, b::c}`.
fn named(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for piece in code.split("crate::").skip(1) {
        if let Some(group) = piece.strip_prefix('{') {
            let end = group.find("};").unwrap();
            names.extend(group[..end].split(',').map(|name| name.trim().to_owned()));
        } else {
            let end = piece
                .find(|char: char| !char.is_alphanumeric() && char != ':' && char != '_')
                .unwrap_or(piece.len());
            names.push(piece[..end].to_owned());
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn every_room_knows_only_what_it_may() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        let room = file.split('/').next().unwrap();
        let Some((_, may)) = MAY.iter().find(|(known, _)| *known == room) else {
            assert!(
                ["lib.rs", "main.rs"].contains(&file.as_str()),
                "a room that the map does not know: {file}"
            );
            continue;
        };
        for name in named(&code) {
            let allowed = may
                .iter()
                .any(|known| name == *known || name.starts_with(&format!("{known}::")));
            if !allowed {
                wrong.push(format!("{file} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_are_pure() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        if PURE.iter().any(|room| file.starts_with(room)) {
            let code = code.split("#[cfg(test)]").next().unwrap();
            wrong.extend(
                IMPURE
                    .iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| format!("{file}: {word}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        for (library, rooms) in ONLY {
            if code.contains(library) && !rooms.iter().any(|room| file.starts_with(room)) {
                wrong.push(format!("{file}: {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_what_it_is_and_none_outgrows_its_room() {
    for (file, _) in files() {
        let text = fs::read_to_string(source().join(&file)).unwrap();
        assert!(text.starts_with("//!"), "{file} does not say what it owns");
        let lines = text.lines().count();
        assert!(lines <= 500, "{file} has {lines} lines");
    }
}

#[test]
fn the_map_would_find_a_trespasser() {
    assert_eq!(named("use crate::{run, lab::Lab};"), ["run", "lab::Lab"]);
    assert_eq!(named("let x = crate::lab::Lab::start();"), ["lab::Lab::start"]);
}
