//! The settings of MySQL and MariaDB that a freeze touches, the way between two states of them, and what is written down
//! of a state before it is changed. Must not decide what is done about it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provider::action::{ActionError, Cx};
use crate::provider::sql::mysql::connect::failed;

use super::parameters::{Prior, Settings, told};

/// What stops writes on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub read_only: String,
    /// MySQL has it, MariaDB has not.
    pub super_read_only: Option<String>,
    pub event_scheduler: String,
}

impl Settings for State {
    fn each(&self) -> Vec<(&'static str, String)> {
        let mut each = vec![("read_only", self.read_only.clone())];
        each.extend(self.super_read_only.clone().map(|value| ("super_read_only", value)));
        each.push(("event_scheduler", self.event_scheduler.clone()));
        each
    }
}

/// The state now.
pub async fn state(session: &mut Conn) -> Result<State, ActionError> {
    let sql = "show global variables where variable_name in ('read_only', 'super_read_only', 'event_scheduler')";
    let found: Vec<(String, String)> = session
        .query(sql)
        .await
        .map_err(|error| failed(&error, "the settings"))?;
    let of = |name: &str| {
        let value = found
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        value.map(|value| match value {
            "0" => "OFF".to_owned(),
            "1" => "ON".to_owned(),
            other => other.to_owned(),
        })
    };
    Ok(State {
        read_only: of("read_only").unwrap_or_default(),
        super_read_only: of("super_read_only"),
        event_scheduler: of("event_scheduler").unwrap_or_default(),
    })
}

/// What a freeze makes of a state.
pub fn frozen(before: &State, hard: bool) -> State {
    let on = |value: &str| match value {
        "OFF" => "ON".to_owned(),
        other => other.to_owned(),
    };
    State {
        read_only: on(&before.read_only),
        super_read_only: before
            .super_read_only
            .as_deref()
            .map(|value| if hard { on(value) } else { value.to_owned() }),
        event_scheduler: match before.event_scheduler.as_str() {
            "ON" => "OFF".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// Statements that lead from one state to another, in an order that lets nobody in meanwhile.
pub fn way(now: &State, to: &State) -> Vec<String> {
    let mut sets = Vec::new();
    if now.super_read_only != to.super_read_only {
        sets.extend(
            to.super_read_only
                .iter()
                .map(|value| format!("set global super_read_only = {value}")),
        );
    }
    if now.read_only != to.read_only {
        sets.push(format!("set global read_only = {}", to.read_only));
    }
    if now.event_scheduler != to.event_scheduler {
        let set = format!("set global event_scheduler = {}", to.event_scheduler);
        // Events stop before the door closes, and begin again once it is open.
        match to.event_scheduler.as_str() {
            "OFF" => sets.insert(0, set),
            _ => sets.push(set),
        }
    }
    sets
}

/// What an earlier try of this step wrote down before it set anything, unless it was taken back.
pub async fn remembered(session: &mut Conn, cx: &Cx) -> Result<Option<Prior<State>>, ActionError> {
    let sql = "select r.result from pointsman_marker m join pointsman_result r on r.`key` = m.`key` \
               where m.run = ? and m.step = ? and m.applied_at is null and r.result like '%\"before\"%' order by m.attempt desc limit 1";
    match session.exec_first::<String, _, _>(sql, (&cx.run, &cx.step)).await {
        Ok(text) => Ok(text.and_then(|text| serde_json::from_str(&text).ok())),
        // There is no such table: nothing was written down.
        Err(Error::Server(told)) if told.code == 1146 => Ok(None),
        Err(error) => Err(failed(&error, "the marker row")),
    }
}

/// Writes down that what a freeze remembered is over. That it cannot be written down changes nothing of the thaw.
pub async fn forgotten(session: &mut Conn, prior: &Prior<State>) {
    let sql = "update pointsman_marker m join pointsman_result r on r.`key` = m.`key` \
               set m.applied_at = utc_timestamp(6) where m.applied_at is null and r.result = ?";
    if let Err(error) = session.exec_drop(sql, (told(prior).to_string(),)).await {
        tracing::info!(%error, "the freeze's marker could not be closed");
    }
}

/// The server that an identity names.
pub fn place(identity: &Value) -> String {
    identity
        .get("server")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
