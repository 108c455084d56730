//! What a replication's target is asked, on any engine: which tables it has and whether anything is in them, whether a fence
//! row has arrived, what the replication noted there. Reads only, and from the primary: a secondary may be behind. Must not
//! know whose replication it is.

use crate::provider::action::{ActionError, ActionErrorKind};

use super::compare::dialect::{Dialect, literal, named};
use super::compare::kind::TableName;
use super::database::Database;
use super::objects::gather::sees;
use super::objects::inventory::{Sight, Told};
use super::server::Engine;
use super::session::{Session, all};
use super::{mysql, objects, postgres, sqlite_session, sqlserver};

/// No more rows of a table are counted: that there are some is what matters, and a count of all would read them all.
pub const MOST: u64 = 1_000;

/// A target with a session to it.
pub struct Target {
    session: Box<dyn Session>,
    dialect: &'static dyn Dialect,
    /// What this user needs, to be shown all tables, where the engine shows only some and does not say so.
    sight: Option<Sight>,
    /// Gives schema and name of every table that is somebody's own; the schema is nothing where the engine has none.
    tables: &'static str,
}

const EVERYWHERE: Sight = Sight {
    told: Told::Everywhere(&["SELECT"], ""),
    needs: "SELECT on all schemas",
};

const SQLITE: &str = "select null, name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' \
     and name not like 'lab\\_%' escape '\\' order by name";
const POSTGRES: &str = "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
     where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema') \
     and n.nspname not like 'pg\\_t%' and not exists (select 1 from pg_depend e where e.objid = c.oid and e.deptype = 'e') \
     order by 1, 2";
const MYSQL: &str = "select table_schema, table_name from information_schema.tables \
     where table_schema not in ('mysql', 'sys', 'information_schema', 'performance_schema') \
     and table_type in ('BASE TABLE', 'SYSTEM VERSIONED') order by 1, 2";
const SQLSERVER: &str = "select s.name, t.name from sys.tables t join sys.schemas s on s.schema_id = t.schema_id \
     where t.is_ms_shipped = 0 order by 1, 2";

impl Target {
    /// Connects.
    pub async fn open(database: &Database) -> Result<Self, ActionError> {
        let (session, tables, sight): (Box<dyn Session>, _, _) = match database {
            Database::Sqlite(target) => (Box::new(sqlite_session::session(target).await?), SQLITE, None),
            Database::Server(target) => match target.engine {
                Engine::Postgres => (Box::new(postgres::session::session(target).await?), POSTGRES, None),
                Engine::Mysql => (
                    Box::new(mysql::session::session(target).await?),
                    MYSQL,
                    Some(EVERYWHERE),
                ),
                Engine::Sqlserver => {
                    let session = sqlserver::session::primary(target).await?;
                    (Box::new(session), SQLSERVER, Some(objects::sqlserver::DATABASE))
                }
            },
        };
        let word = match database {
            Database::Sqlite(_) => "sqlite",
            Database::Server(target) => target.engine.word(),
        };
        Ok(Self {
            session,
            dialect: named(word),
            sight,
            tables,
        })
    }

    /// Its tables, of all schemas that somebody made.
    pub async fn tables(&mut self) -> Result<Vec<TableName>, ActionError> {
        let rows = all(&mut *self.session, self.tables).await?;
        let named = rows.into_iter().filter_map(|row| {
            let mut cells = row.into_iter();
            let schema = cells.next().flatten();
            Some(TableName {
                schema,
                name: cells.next().flatten()?,
            })
        });
        Ok(named.collect())
    }

    /// What this user needs to be shown all tables, and has not; nothing where all are shown.
    pub async fn blind(&mut self) -> Result<Option<&'static str>, ActionError> {
        let Some(sight) = self.sight else { return Ok(None) };
        Ok((!sees(&mut *self.session, &sight).await?).then_some(sight.needs))
    }

    /// Refuses to count what something hides rows of.
    async fn open_to_all(&mut self, table: &TableName) -> Result<(), ActionError> {
        let remarks = self.dialect.remarks(&mut *self.session, table).await?;
        match remarks.problems.first() {
            Some(problem) => {
                let words = format!("the target's {table} cannot be counted: {problem}");
                Err(ActionError::new(ActionErrorKind::Permanent, words))
            }
            None => Ok(()),
        }
    }

    /// How many rows a table has, up to `MOST`.
    pub async fn filled(&mut self, table: &TableName) -> Result<u64, ActionError> {
        self.open_to_all(table).await?;
        let of = self.dialect.table(table);
        self.number(&self.dialect.some(&of, MOST)).await
    }

    /// How many rows a table has.
    pub async fn count(&mut self, table: &TableName) -> Result<u64, ActionError> {
        self.open_to_all(table).await?;
        let (count, of) = (self.dialect.count(), self.dialect.table(table));
        self.number(&format!("select {count} from {of}")).await
    }

    /// Whether a fence row is there. The table itself may still have to arrive.
    pub async fn fence(&mut self, token: &str) -> Result<bool, ActionError> {
        let tables = all(&mut *self.session, self.dialect.tables()).await?;
        let known = tables.into_iter().flatten().flatten().any(|name| name == FENCE);
        if !known {
            return Ok(false);
        }
        let (of, token) = (self.dialect.table(&TableName::parse(FENCE)), literal(token)?);
        let sql = format!("select count(*) from {of} where token = {token}");
        Ok(self.number(&sql).await? > 0)
    }

    async fn number(&mut self, sql: &str) -> Result<u64, ActionError> {
        let rows = all(&mut *self.session, sql).await?;
        let cell = rows.into_iter().flatten().flatten().next();
        cell.as_deref().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let words = format!("the target counts {cell:?}, which is no number");
            ActionError::new(ActionErrorKind::Permanent, words)
        })
    }
}

const FENCE: &str = "pointsman_fence";
