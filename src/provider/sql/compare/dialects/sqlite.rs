//! SQLite. Its columns hold whatever was put there; what a declared type means is what its affinity and its name promise
//! (sqlite.org/datatype3.html). It runs in this process, so that nothing is gained by having it hash.

use async_trait::async_trait;

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Ask, Dialect, Field, catalogue, literal};
use crate::provider::sql::compare::form::Form;
use crate::provider::sql::compare::kind::{Column, Kind, Table, TableName, Trait, keys};
use crate::provider::sql::session::Session;

/// SQLite.
pub struct Sqlite;

#[async_trait]
impl Dialect for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn quote(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn snapshot(&self, _shared: Option<&str>) -> Vec<String> {
        // The second statement is what takes the state: the first alone reads nothing.
        vec!["begin".to_owned(), "select count(*) from sqlite_schema".to_owned()]
    }

    fn tables(&self) -> &'static str {
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name"
    }

    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
        let table = literal(&name.name)?;
        let sql = format!(
            "select name, type, \"notnull\", pk from pragma_table_xinfo({table}) where hidden in (0, 2, 3) order by cid"
        );
        let rows = catalogue(session, &sql).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut columns: Vec<Column> = rows.iter().map(|row| column(row)).collect();
        let mut parts: Vec<(u32, String)> = rows
            .iter()
            .filter_map(|row| {
                let position: u32 = cell(row, 3).parse().ok().filter(|position| *position > 0)?;
                Some((position, cell(row, 0).to_owned()))
            })
            .collect();
        parts.sort();
        // The row's own number, which every row has (sqlite.org/lang_createtable.html#rowid): such a key needs no index.
        let sql = format!("select count(*) from pragma_index_list({table}) where origin = 'pk'");
        let indexed = catalogue(session, &sql).await?.iter().any(|row| cell(row, 0) != "0");
        if let ([(_, single)], false) = (parts.as_slice(), indexed) {
            let own = |column: &&mut Column| column.name == *single && column.declared.eq_ignore_ascii_case("integer");
            if let Some(column) = columns.iter_mut().find(own) {
                column.nullable = false;
            }
        }
        let sql = format!(
            "select i.name, c.name, case when x.\"notnull\" = 1 then 'no' else 'yes' end from pragma_index_list({table}) i \
             join pragma_index_info(i.name) c left join pragma_table_xinfo({table}) x on x.name = c.name \
             where i.\"unique\" = 1 and i.partial = 0 and i.origin <> 'pk' order by i.seq desc, c.seqno"
        );
        let unique = catalogue(session, &sql).await?;
        let primary: Vec<String> = parts.into_iter().map(|(_, name)| name).collect();
        let more = keys(&unique, |row| cell(row, 2) == "no");
        Ok(Some(Table {
            name: name.clone(),
            columns,
            primary: !primary.is_empty(),
            keys: Some(primary)
                .filter(|key| !key.is_empty())
                .into_iter()
                .chain(more)
                .collect(),
            estimate: None,
        }))
    }

    fn exact(&self, _field: &Field) -> Option<String> {
        None
    }

    fn plain(&self, field: &Field) -> String {
        let name = self.quote(&field.column.name);
        match (&field.column.kind, field.form) {
            // A text that lies in a column of bytes is its bytes, and bytes that lie in one of texts are their text: neither
            // is taken for the digits that would show the other.
            (Kind::Binary, _) => format!(
                "case typeof({name}) when 'null' then null when 'blob' then hex({name}) else typeof({name})||':'||hex({name}) end"
            ),
            (_, Form::Uuid) => format!("case typeof({name}) when 'blob' then hex({name}) else {name} end"),
            (Kind::Text { .. } | Kind::Json, _) => {
                format!(
                    "case typeof({name}) when 'null' then null when 'blob' then 'x'||hex({name}) else cast({name} as text) end"
                )
            }
            _ => format!("case typeof({name}) when 'blob' then 'x'||hex({name}) else {name} end"),
        }
    }

    fn sums(&self, _ask: &Ask<'_>) -> Option<String> {
        None
    }

    fn touched(&self, _tables: &[TableName]) -> Option<String> {
        Some("select data_version, 0 from pragma_data_version".to_owned())
    }

    fn watch(&self) -> &'static str {
        "the database's data_version"
    }
}

fn cell(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

fn column(row: &[String]) -> Column {
    let declared = cell(row, 1).to_owned();
    let upper = declared.to_ascii_uppercase();
    let base = upper.split('(').next().unwrap_or_default().trim();
    let number = |position: usize| -> Option<u32> {
        let inside = upper.split_once('(')?.1.split(')').next()?;
        inside.split(',').nth(position)?.trim().parse().ok()
    };
    let has = |words: &[&str]| words.iter().any(|word| base.contains(word));
    let kind = if has(&["BOOL"]) {
        Kind::Boolean
    } else if has(&["INT"]) {
        Kind::Integer
    } else if has(&["DATETIME", "TIMESTAMP"]) {
        Kind::DateTime {
            fraction: 6,
            zoned: false,
        }
    } else if base == "DATE" {
        Kind::Date
    } else if base == "TIME" {
        Kind::Time { fraction: 6 }
    } else if has(&["UUID", "UNIQUEIDENTIFIER"]) {
        Kind::Uuid
    } else if has(&["JSON"]) {
        Kind::Json
    } else if has(&["DEC", "NUMERIC", "NUMBER", "MONEY"]) {
        // Kept as an integer or as a float of 64 bits: fifteen digits are kept, more are not.
        Kind::Decimal {
            scale: number(1).or_else(|| number(0).map(|_| 0)),
        }
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Kind::Float { single: false }
    } else if has(&["CHAR", "CLOB", "TEXT", "STRING", "ENUM"]) {
        // Nothing is padded here, whatever the type is called.
        Kind::Text { fixed: false }
    } else if has(&["BLOB", "BINARY", "BYTEA"]) || base.is_empty() {
        Kind::Binary
    } else {
        Kind::Other
    };
    Column {
        name: cell(row, 0).to_owned(),
        trait_: if kind == Kind::Binary {
            Trait::Sixteen
        } else {
            Trait::None
        },
        kind,
        declared: if declared.is_empty() {
            "no type".to_owned()
        } else {
            declared
        },
        nullable: cell(row, 2) != "1",
    }
}
