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
                // Long lists would be cut.
                all(&mut session, "set session group_concat_max_len = 1048576").await?;
                Box::new(session)
            }
            Engine::Sqlserver => {
                // A secondary has logins, jobs and linked servers of its own, and may be behind.
                Box::new(sqlserver::session::primary(target).await?)
            }
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
                let version = version.and_then(|text| text.parse().ok()).ok_or_else(|| {
                    let words = format!("{target}: it does not tell its version, and so not what it has");
                    ActionError::new(ActionErrorKind::Permanent, words)
                })?;
                Questions {
                    version,
                    sections: either(super::sqlserver::NATIVE, sqlserver_neutral::NEUTRAL),
                    counters: sqlserver_instance::counters(version),
                    positions: sqlserver_instance::positions(version).filter(|_| !across),
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

/// Whether this user is shown all that there is.
pub async fn sees(session: &mut dyn Session, sight: &Sight) -> Result<bool, ActionError> {
    Ok(match sight.told {
        Told::By(sql) => one(session, sql).await?.as_deref() == Some("1"),
        Told::Schema(_) | Told::Everywhere(..) => {
            let grants = all(session, "show grants").await?;
            let grants: Vec<String> = grants.into_iter().flatten().flatten().collect();
            let schema = one(session, "select database()").await?;
            super::mysql::shows(sight.told, &grants, &schema.unwrap_or_default())
        }
    })
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
        sees(&mut *self.session, sight).await
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
            for row in self.told("counters", sql, &mut found).await? {
                self.counter(row, &mut found).await?;
            }
        }
        if let Some(sql) = self.questions.positions {
            for row in self.told("sequences", sql, &mut found).await? {
                self.position(row, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn look(&mut self, lookup: &Lookup, keyed: bool, found: &mut Inventory) -> Result<(), ActionError> {
        let rows = self.told(lookup.what, lookup.sql, found).await?;
        if keyed {
            found.keys(lookup.what, rows);
        } else {
            for row in rows {
                found.object(lookup.what, cells(row));
            }
        }
        Ok(())
    }

    /// What the server tells. What the user may not see is hidden; a session whose statement failed is not used again.
    async fn told(
        &mut self,
        what: &str,
        sql: &str,
        found: &mut Inventory,
    ) -> Result<Vec<Vec<Option<String>>>, ActionError> {
        match all(&mut *self.session, sql).await {
            Err(error) if error.kind == ActionErrorKind::Permanent => {
                found.hidden(what, &error.message);
                self.session = session(self.database).await?;
                Ok(Vec::new())
            }
            told => told,
        }
    }

    /// A row of a sequence's name, and the query of what it gives next, of its way, and of what it may give next at most.
    async fn position(&mut self, row: Vec<Option<String>>, found: &mut Inventory) -> Result<(), ActionError> {
        let [Some(name), sql] = cells(row) else { return Ok(()) };
        let what = format!("sequence {name}");
        let told = match sql {
            Some(sql) => self.told(&what, &sql, found).await?.into_iter().next(),
            None => None,
        };
        let [next, way, most] = cells(told.unwrap_or_default());
        match next.as_deref().and_then(whole) {
            Some(next) => {
                let most = most.as_deref().and_then(whole).unwrap_or(next);
                let down = way.as_deref() == Some(DOWN);
                found.positions.insert(name, Position { next, most, down });
            }
            None => found.hidden(&what, UNTOLD),
        }
        Ok(())
    }

    /// A row of a counter's name, the query of its next number, the query of the highest that is there, and its way.
    async fn counter(&mut self, row: Vec<Option<String>>, found: &mut Inventory) -> Result<(), ActionError> {
        let [Some(name), next, highest, way] = cells(row) else {
            found.hidden("a counter", UNTOLD);
            return Ok(());
        };
        let what = format!("counter {name}");
        let (Some(next), Some(highest)) = (next, highest) else {
            found.hidden(&what, UNTOLD);
            return Ok(());
        };
        let mut numbers = [None, None];
        for (number, sql) in numbers.iter_mut().zip([next, highest]) {
            let unseen = found.unseen.len();
            let told = self.told(&what, &sql, found).await?;
            if found.unseen.len() > unseen {
                return Ok(());
            }
            *number = told.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        }
        let [next, highest] = numbers;
        // Where there is no row, nothing can be given again.
        let Some(highest) = highest else { return Ok(()) };
        let (Some(next), Some(highest)) = (next.as_deref().and_then(whole), whole(&highest)) else {
            found.hidden(&what, UNTOLD);
            return Ok(());
        };
        let stands = Position::exact(next, way.as_deref() == Some(DOWN));
        if next == highest || stands.before(highest) {
            found
                .behind
                .push(format!("counter {name} gives {next}, and {highest} is there"));
        }
        Ok(())
    }
}

/// A whole number, whose places after the point may be written where they are zeros.
fn whole(text: &str) -> Option<i128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    whole.parse().ok().filter(|_| places.bytes().all(|digit| digit == b'0'))
}

const UNTOLD: &str = "the server does not tell where it stands";

/// The way of a counter that counts down.
const DOWN: &str = "down";

/// So many cells of a row; what did not come is NULL.
fn cells<const N: usize>(row: Vec<Option<String>>) -> [Option<String>; N] {
    let mut cells = row.into_iter();
    std::array::from_fn(|_| cells.next().flatten())
}
