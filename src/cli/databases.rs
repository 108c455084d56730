//! Databases on servers, as a connection's settings name them. Must not connect to anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::provider::connection::SqliteTarget;
use crate::provider::sql::database::Database;
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

/// The database of an address: `mysql://user@host/database?tls=off`, `sqlite:file`. Its password is `secret` where the
/// address has none.
pub fn addressed(role: &str, address: &str, secret: Option<String>) -> Result<Database, Trouble> {
    let shapes = "write mysql://USER@HOST/DATABASE, postgres://…, sqlserver://… or sqlite:FILE";
    if let Some(rest) = address.strip_prefix("sqlite:") {
        let path = PathBuf::from(rest.strip_prefix("//").unwrap_or(rest));
        if !path.is_file() {
            return Err(Trouble::input(format!("{role}: {} is not a database file", path.display())).hint(shapes));
        }
        return Ok(Database::Sqlite(SqliteTarget { path }));
    }
    // The address may hold a password: it is not repeated.
    let url = url::Url::parse(address)
        .map_err(|error| Trouble::input(format!("the {role}'s address is none: {error}")).hint(shapes))?;
    let Some(engine) = Engine::named(url.scheme()) else {
        return Err(Trouble::input(format!("{role}: {}:// is no database on a server", url.scheme())).hint(shapes));
    };
    let plain = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let settings: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let known = ["tls", "ca", "timeout"];
    if let Some(name) = settings.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Trouble::input(format!("{role}: an address has no setting {name}"))
            .hint(format!("known: {}", known.join(", "))));
    }
    let text = |key: &str| match key {
        "host" => url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()),
        "port" => url.port().map(|port| port.to_string()),
        "database" => Some(plain(url.path().trim_start_matches('/'))).filter(|name| !name.is_empty()),
        "user" => Some(plain(url.username())).filter(|name| !name.is_empty()),
        "password" => url.password().map(plain).or_else(|| secret.clone()),
        other => settings.get(other).cloned(),
    };
    let target = Database::Server(from(role, engine.word(), &text).map_err(|trouble| trouble.hint(shapes))?);
    Ok(if settings.contains_key("timeout") {
        target
    } else {
        target.patient()
    })
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
