//! Databases in files, web applications and other hosts before the night.

use std::time::{Duration, Instant};

use crate::provider::action::ActionErrorKind;
use crate::provider::connection::{HttpTarget, SqliteTarget};
use crate::provider::sql::sqlite;
use crate::provider::ssh::session;
use crate::provider::ssh::target::SshTarget;

use super::finding::Finding;

/// How long a file is looked through.
const LOOKED: Duration = Duration::from_secs(15);

/// Opens the file read-only and lets SQLite look it through (`PRAGMA quick_check`).
pub async fn sqlite(name: &str, target: &SqliteTarget) -> Vec<Finding> {
    let path = target.path.display().to_string();
    let target = target.clone();
    let looked = sqlite::blocking(move || {
        let mut session = sqlite::reader(&target)?;
        let tables = sqlite::user_tables(&session)?.len();
        // A large file is not read to its end in the middle of a night.
        let begun = Instant::now();
        session
            .progress_handler(10_000, Some(move || begun.elapsed() > LOOKED))
            .map_err(|error| sqlite::failed(&error, "the session"))?;
        let sound: String = session
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| sqlite::failed(&error, "quick_check"))?;
        Ok((tables, sound))
    })
    .await;
    vec![match looked {
        Err(error) if error.kind == ActionErrorKind::Cancelled => {
            let seen = format!("{path} opens; it was not looked through within {} s", LOOKED.as_secs());
            Finding::amber(name, "opens", seen, "PRAGMA quick_check, before the night")
        }
        Err(error) => Finding::failed(name, "opens", &error),
        Ok((tables, sound)) if sound == "ok" => Finding::green(name, "opens", format!("{path}, {tables} tables")),
        Ok((_, damaged)) => Finding::red(name, "opens", damaged, "the file is damaged: bring back a good one"),
    }]
}

/// Asks for the root; any answer shows that somebody is there.
pub async fn http(name: &str, target: &HttpTarget) -> Vec<Finding> {
    let probe = "answers";
    let advice = "is it up, and may this machine reach it?";
    let host = target.base.split("://").nth(1).unwrap_or(&target.base).to_owned();
    if target.resolver.is_some() {
        // Its name is the night's own to move: who answers is for http.check to say.
        return vec![Finding::green(name, probe, format!("{host}, by the zone's own server"))];
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build();
    let answer = match client {
        Ok(client) => client.get(&target.base).send().await,
        Err(error) => return vec![Finding::red(name, probe, error.to_string(), advice)],
    };
    vec![match answer {
        Ok(answer) if !answer.status().is_server_error() => {
            Finding::green(name, probe, format!("{host}: {}", answer.status()))
        }
        Ok(answer) => Finding::amber(name, probe, format!("{host}: {}", answer.status()), "look at its log"),
        Err(error) => Finding::red(name, probe, format!("{host}: {}", error.without_url()), advice),
    }]
}

/// Opens a session: the host's key is known, and the account lets us in.
pub async fn ssh(name: &str, target: &SshTarget) -> Vec<Finding> {
    let target = target.clone();
    let words = target.to_string();
    let opened =
        tokio::task::spawn_blocking(move || session::open(&target).map(|opened| opened.host_key.fingerprint.clone()))
            .await;
    vec![match opened {
        Ok(Ok(fingerprint)) => Finding::green(name, "opens", format!("{words}, host key {fingerprint}")),
        Ok(Err(error)) => Finding::failed(name, "opens", &error),
        Err(broken) => Finding::red(name, "opens", broken.to_string(), "see the diagnostic log"),
    }]
}
