//! Databases on servers, as a connection's settings name them. Must not connect to anything.

use std::time::Duration;

use serde_json::Value;

use crate::provider::sql::server::{Engine, PATIENCE, Protection, ServerTarget};
use crate::runbook::plan::Connection;
use crate::runbook::text::duration;

use super::secrets::Secrets;
use super::trouble::Trouble;
use super::world::at_home;

/// The database of a connection.
pub fn server(name: &str, connection: &Connection, secrets: &Secrets) -> Result<ServerTarget, Trouble> {
    let text = |key: &str| match connection.settings.get(key) {
        Some(Value::String(text)) => Some(secrets.reveal(text)),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    from(name, &connection.uses, &text)
}

/// A database from settings by name.
pub fn from(name: &str, kind: &str, text: &dyn Fn(&str) -> Option<String>) -> Result<ServerTarget, Trouble> {
    let needed = |key: &str| {
        text(key).ok_or_else(|| {
            Trouble::input(format!("connection {name} has no {key}"))
                .hint(format!("write {key}: in connections.{name}"))
        })
    };
    let engine = Engine::named(kind)
        .ok_or_else(|| Trouble::input(format!("connection {name}: {kind} is no database on a server")))?;
    let protection = match text("tls").as_deref() {
        None | Some("verify" | "true") => Protection::Verified {
            ca: text("ca").as_deref().map(at_home).transpose()?,
        },
        Some("unverified") => Protection::Unverified,
        Some("off" | "false") => Protection::Off,
        Some(other) => {
            return Err(
                Trouble::input(format!("connection {name}: tls \"{other}\" is not known"))
                    .hint("write verify, which is what nothing means, unverified or off"),
            );
        }
    };
    let token = text("token");
    Ok(ServerTarget {
        engine,
        host: needed("host")?,
        port: match text("port") {
            None => engine.port(),
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Trouble::input(format!(
                    "connection {name}: port \"{port}\" is no number from 1 to 65535"
                ))
            })?,
        },
        database: needed("database")?,
        user: match (text("user"), &token) {
            (Some(user), _) => user,
            (None, Some(_)) => "token".to_owned(),
            (None, None) => needed("user")?,
        },
        password: text("password"),
        token,
        protection,
        patience: patience(name, text("timeout"), "a statement")?.unwrap_or(PATIENCE),
    })
}

/// How long something on a connection may take.
pub fn patience(name: &str, words: Option<String>, what: &str) -> Result<Option<Duration>, Trouble> {
    let Some(words) = words else { return Ok(None) };
    let span = duration(&words).filter(|span| span.0 > 0).ok_or_else(|| {
        Trouble::input(format!("connection {name}: timeout \"{words}\" is no duration"))
            .hint(format!("write how long {what} may take: 30s"))
    })?;
    Ok(Some(span.as_duration()))
}
