//! What a comparison has to know of an engine: how it describes a table, how it writes a value, how it sums the hashes of
//! rows itself. Statements only; must not open or execute anything but what it describes tables by.

use async_trait::async_trait;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::session::{Session, all};

use super::cursor::Range;
use super::dialects::{Mysql, Postgres, Sqlite, Sqlserver};
use super::form::Form;
use super::kind::{Column, Table, TableName};

/// What an engine does to a table's rows or values without a word to who reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// What has to be known of it.
    pub notes: Vec<String>,
    /// Why its rows cannot be proven.
    pub problems: Vec<String>,
}

/// A column as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub column: Column,
    pub form: Form,
}

/// By what rows are put into buckets. Both sides of a table have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// By how many steps of a range the key is above its beginning.
    Step(Range),
    /// By the first hexadecimal digits of the hash of the key.
    Hash { digits: u32 },
}

/// Which rows are summed, and how.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub table: &'a TableName,
    /// What holds of the rows, as SQL; everything where it is empty.
    pub filter: &'a str,
    pub fields: &'a [Field],
    /// Positions of the key's columns among the fields.
    pub key: &'a [usize],
    pub bucket: Bucket,
    /// What holds of the rows besides their being in the range.
    pub own: Option<&'a str>,
}

impl Ask<'_> {
    /// The ` where …` of it.
    pub fn wanted(&self) -> String {
        wanted(self.filter)
    }

    /// The buckets of its range, each with what holds of its rows, where `column` is the leading one as it is quoted and holds
    /// whole numbers only.
    pub fn pieces(&self, column: &str) -> Vec<(i64, String)> {
        let piece = |(at, bucket): (i64, Range)| (at, wanted(&both(self.own, &bucket.whole(column))));
        match self.bucket {
            Bucket::Step(range) => range.buckets().map(piece).collect(),
            Bucket::Hash { .. } => Vec::new(),
        }
    }

    /// The column whose steps are counted.
    pub fn leading(&self) -> Option<&Field> {
        self.fields.get(*self.key.first()?)
    }
}

/// Two conditions, each of which may be none.
pub fn both(own: Option<&str>, also: &str) -> String {
    match (own, also) {
        (None, also) => also.to_owned(),
        (Some(own), "") => format!("({own})"),
        (Some(own), also) => format!("({own}) and ({also})"),
    }
}

/// A ` where …`, or nothing.
pub fn wanted(filter: &str) -> String {
    if filter.is_empty() {
        String::new()
    } else {
        format!(" where {filter}")
    }
}

/// An engine's way to say things.
#[async_trait]
pub trait Dialect: Send + Sync {
    /// The engine's name for people.
    fn name(&self) -> &'static str;

    /// A name in quotes.
    fn quote(&self, name: &str) -> String;

    /// Statements that make a session see one state of the database until it ends. `shared` is what another session's
    /// `share` gave.
    fn snapshot(&self, shared: Option<&str>) -> Vec<String>;

    /// A statement that lets other sessions see this one's state, where there is one.
    fn share(&self) -> Option<&'static str> {
        None
    }

    /// The tables of the default schema.
    fn tables(&self) -> &'static str;

    /// What the engine says of a table; nothing where there is none of that name.
    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError>;

    /// How rows are counted, however many they are.
    fn count(&self) -> &'static str {
        "count(*)"
    }

    /// A statement that counts rows of a table, whose name is in quotes, up to so many.
    fn some(&self, table: &str, most: u64) -> String {
        format!("select count(*) from (select 1 n from {table} limit {most}) x")
    }

    /// What hides rows or values of a table from who reads it.
    async fn remarks(&self, session: &mut dyn Session, name: &TableName) -> Result<Remarks, ActionError> {
        let _none = (session, name);
        Ok(Remarks::default())
    }

    /// An expression that gives the value as `Form::write` would write it; none where the engine cannot.
    fn exact(&self, field: &Field) -> Option<String>;

    /// An expression that gives the value as a text that `Form::write` reads.
    fn plain(&self, field: &Field) -> String;

    /// A statement that gives buckets, rows, rows whose hash is in the sum (NULL where that is seen by other means), and sums
    /// of hashes; none where the engine cannot write one of the fields.
    fn sums(&self, ask: &Ask<'_>) -> Option<String>;

    /// A statement whose answer changes when somebody writes to one of `tables`; none where the engine has none. A row for
    /// each, with what changes, whether something is being written, and where the engine counts late: what stays as it is
    /// while nobody writes at all, whether a session may have something that is not counted yet, and whether one began
    /// something after the watch did and has not ended it.
    fn touched(&self, tables: &[TableName]) -> Option<String>;

    /// A statement that gives a row for each of `tables`, as `touched` does, where nobody at all can write to them; none
    /// where the engine has no such state. It is asked first.
    fn closed(&self, tables: &[TableName]) -> Option<String> {
        let _none = tables;
        None
    }

    /// Whether another session may go on with the watch of one that broke: what it says is no session's own.
    fn anew(&self) -> bool {
        false
    }

    /// By what it is told that nobody has written, for people.
    fn watch(&self) -> &'static str;

    /// A table's name in quotes.
    fn table(&self, name: &TableName) -> String {
        match &name.schema {
            Some(schema) => format!("{}.{}", self.quote(schema), self.quote(&name.name)),
            None => self.quote(&name.name),
        }
    }

    /// A statement that gives the rows, field by field.
    fn rows(&self, table: &TableName, fields: &[Field], filter: &str) -> String {
        let fields: Vec<String> = fields.iter().map(|field| self.plain(field)).collect();
        format!(
            "select {} from {}{}",
            fields.join(", "),
            self.table(table),
            wanted(filter)
        )
    }
}

/// The dialect of an engine by its word.
pub fn named(word: &str) -> &'static dyn Dialect {
    match word {
        "postgres" => &Postgres,
        "mysql" => &Mysql,
        "sqlserver" => &Sqlserver,
        _ => &Sqlite,
    }
}

/// A text in quotes, for names in catalogues. No engine here reads backslashes in it: what has one is refused.
pub fn literal(text: &str) -> Result<String, ActionError> {
    if text.contains(['\\', '\0']) {
        let words = format!("the name {text:?} has a character that no table's name may have here");
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// Rows of a catalogue, each cell a text; what is NULL is empty.
pub async fn catalogue(session: &mut dyn Session, sql: &str) -> Result<Vec<Vec<String>>, ActionError> {
    let rows = all(session, sql).await?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
        .collect())
}

/// The expression of a row's text by how an engine joins texts, measures them and replaces NULL.
pub fn row_text(
    fields: &[Field],
    exact: impl Fn(&Field) -> Option<String>,
    measured: impl Fn(&str) -> Vec<String>,
    or_null: impl Fn(&str) -> String,
    join: impl Fn(&[String]) -> String,
) -> Option<String> {
    let mut parts = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            parts.push("','".to_owned());
        }
        let text = exact(field)?;
        let own = if field.form.is_free() {
            measured(&text)
        } else {
            vec![text]
        };
        match own.as_slice() {
            [one] if field.column.nullable => parts.push(or_null(one)),
            several if field.column.nullable => parts.push(or_null(&join(several))),
            _ => parts.extend(own),
        }
    }
    Some(join(&parts))
}
