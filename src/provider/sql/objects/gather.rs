//! What one side has: opens a read-only session and asks it what its engine's room has questions for. Must not judge.

use crate::provider::action::{ActionError, ActionErrorKind, Cx};
use crate::provider::sql::database::Database;
use crate::provider::sql::server::Engine;
use crate::provider::sql::session::{Session, all};
use crate::provider::sql::{mysql, postgres, sqlite_session, sqlserver};

use super::inventory::{Inventory, Lookup, Position, Section, Sight, Told};
use super::{sqlserver_instance, sqlserver_neutral};

/// What a side is asked.
struct Questions {
    /// The server's version, where some of its objects came with one.
    version: u32,
    sections: &'static [Section],
    counters: Vec<&'static str>,
    positions: Option<&'static str>,
}

/// A side that was asked nothing yet.
pub struct Side<'a> {
    database: &'a Database,
    session: Box<dyn Session>,
    questions: Questions,
}

async fn session(database: &Database) -> Result<Box<dyn Session>, ActionError> {
    Ok(match database {
        Database::Sqlite(target) => Box::new(sqlite_session::session(target).await?),
        Database::Server(target) => match target.engine {
            Engine::Postgres => Box::new(postgres::session::session(target).await?),
            Engine::Mysql => {
                let mut session = mysql::session::session(target).await?;
                // Long lists would be cut; and MySQL would tell counters as of yesterday.
                all(&mut session, "set session group_concat_max_len = 1048576").await?;
                let _mariadb_has_none = all(&mut session, "set session information_schema_stats_expiry = 0").await;
                Box::new(session)
            }
            Engine::Sqlserver => Box::new(sqlserver::session::session(target).await?),
        },
    })
}

/// Opens a side. `across`: the other one is of another engine.
pub async fn open(database: &Database, across: bool) -> Result<Side<'_>, ActionError> {
    let mut session = session(database).await?;
    let either = |native, neutral| if across { neutral } else { native };
    let questions = match database {
        Database::Sqlite(_) => Questions {
            version: 0,
            sections: super::sqlite::NATIVE,
            counters: Vec::new(),
            positions: None,
        },
        Database::Server(target) => match target.engine {
            Engine::Postgres => Questions {
                version: 0,
                sections: either(super::postgres::NATIVE, super::postgres::NEUTRAL),
                counters: vec![super::postgres::COUNTERS],
                positions: Some(super::postgres::POSITIONS).filter(|_| !across),
            },
            Engine::Mysql => Questions {
                version: 0,
                sections: either(super::mysql::NATIVE, super::mysql::NEUTRAL),
                counters: vec![super::mysql::COUNTERS],
                positions: Some(super::mysql::POSITIONS).filter(|_| !across),
            },
            Engine::Sqlserver => {
                let version = one(&mut *session, sqlserver_instance::VERSION).await?;
                let version = version.and_then(|text| text.parse().ok()).unwrap_or_default();
                let sequenced = !across && version >= super::sqlserver::SEQUENCED;
                Questions {
                    version,
                    sections: either(super::sqlserver::NATIVE, sqlserver_neutral::NEUTRAL),
                    counters: sqlserver_instance::counters(version),
                    positions: Some(sqlserver_instance::POSITIONS).filter(|_| sequenced),
                }
            }
        },
    };
    Ok(Side {
        database,
        session,
        questions,
    })
}

async fn one(session: &mut dyn Session, sql: &str) -> Result<Option<String>, ActionError> {
    let rows = all(session, sql).await?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

impl Side<'_> {
    fn sections(&self) -> impl Iterator<Item = Section> + use<> {
        let version = self.questions.version;
        let sections = self.questions.sections.iter().copied();
        sections.filter(move |section| section.since <= version)
    }

    /// What this user does not see all of, and what is needed for it.
    pub async fn blind(&mut self) -> Result<Vec<String>, ActionError> {
        let mut told = Vec::new();
        for section in self.sections() {
            let Some(sight) = section.sight else { continue };
            if !self.sees(&sight).await? {
                let looked: Vec<&str> = section.lookups.iter().map(|lookup| lookup.what).collect();
                told.push(format!("{} ({} is needed)", looked.join(", "), sight.needs));
            }
        }
        Ok(told)
    }

    async fn sees(&mut self, sight: &Sight) -> Result<bool, ActionError> {
        Ok(match sight.told {
            Told::By(sql) => one(&mut *self.session, sql).await?.as_deref() == Some("1"),
            Told::Schema(_) | Told::Everywhere(..) => {
                let grants = all(&mut *self.session, "show grants").await?;
                let grants: Vec<String> = grants.into_iter().flatten().flatten().collect();
                let schema = one(&mut *self.session, "select database()").await?;
                super::mysql::shows(sight.told, &grants, &schema.unwrap_or_default())
            }
        })
    }

    /// All that it has.
    pub async fn inventory(mut self, cx: &Cx) -> Result<Inventory, ActionError> {
        let mut found = Inventory::default();
        for section in self.sections() {
            let whole = match &section.sight {
                Some(sight) => self.sees(sight).await?,
                None => true,
            };
            for lookup in section.lookups {
                if cx.cancel.is_cancelled() {
                    let words = "the comparison was cancelled";
                    return Err(ActionError::new(ActionErrorKind::Cancelled, words));
                }
                if let (false, Some(sight)) = (whole, &section.sight) {
                    let why = format!("{} is needed to see all of them", sight.needs);
                    found.hidden(lookup.what, &why);
                }
                self.look(lookup, section.keyed, &mut found).await?;
            }
        }
        for sql in self.questions.counters.clone() {
            for row in all(&mut *self.session, sql).await? {
                self.counter(row, &mut found).await?;
            }
        }
        if let Some(sql) = self.questions.positions {
            for row in all(&mut *self.session, sql).await? {
                self.position(row, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn look(&mut self, lookup: &Lookup, keyed: bool, found: &mut Inventory) -> Result<(), ActionError> {
        match all(&mut *self.session, lookup.sql).await {
            Ok(rows) if keyed => found.keys(lookup.what, rows),
            Ok(rows) => {
                for row in rows {
                    found.object(lookup.what, cells(row));
                }
            }
            // What the user may not see is told; a session whose statement failed is not used again.
            Err(error) if error.kind == ActionErrorKind::Permanent => {
                found.hidden(lookup.what, &error.message);
                self.session = session(self.database).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A row of a sequence's name, and the query of where it stands and of its way.
    async fn position(&mut self, row: Vec<Option<String>>, found: &mut Inventory) -> Result<(), ActionError> {
        let [Some(name), sql] = cells(row) else { return Ok(()) };
        let told = match sql {
            Some(sql) => all(&mut *self.session, &sql).await?.into_iter().next(),
            None => None,
        };
        let [at, way] = cells(told.unwrap_or_default());
        match at.and_then(|text| text.parse().ok()) {
            Some(at) => {
                let down = way.as_deref() == Some(DOWN);
                found.positions.insert(name, Position { at, down });
            }
            None => found.hidden(&format!("sequence {name}"), UNTOLD),
        }
        Ok(())
    }

    /// A row of a counter's name, the query of its next number, the query of the highest that is there, and its way.
    async fn counter(&mut self, row: Vec<Option<String>>, found: &mut Inventory) -> Result<(), ActionError> {
        let [name, next, highest, way] = cells(row);
        let (Some(name), Some(next), Some(highest)) = (name, next, highest) else {
            found.hidden("a counter", UNTOLD);
            return Ok(());
        };
        let number = |text: Option<String>| text.and_then(|text| text.parse::<i128>().ok());
        let next = number(one(&mut *self.session, &next).await?);
        let Some(highest) = number(one(&mut *self.session, &highest).await?) else {
            return Ok(());
        };
        let down = way.as_deref() == Some(DOWN);
        match next {
            None => found.hidden(&format!("counter {name}"), UNTOLD),
            Some(next) if next == highest || (Position { at: next, down }).before(highest) => {
                found
                    .behind
                    .push(format!("counter {name} gives {next}, and {highest} is there"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

const UNTOLD: &str = "the server does not tell where it stands";

/// The way of a counter that counts down.
const DOWN: &str = "down";

/// So many cells of a row; what did not come is NULL.
fn cells<const N: usize>(row: Vec<Option<String>>) -> [Option<String>; N] {
    let mut cells = row.into_iter();
    std::array::from_fn(|_| cells.next().flatten())
}
