//! What SQL Server's catalogue says of a table: its columns, what tells its rows apart, and what would keep rows or values of
//! it from a reader without a word. Must not read a row.

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Remarks, catalogue, literal};
use crate::provider::sql::compare::kind::{Column, Kind, Table, TableName, Trait, keys};
use crate::provider::sql::session::Session;

/// What the types that are no others' are declared as.
const ROWVERSION: &str = "rowversion";

/// A table as the functions of the catalogue take it, in quotes.
pub fn object(name: &TableName) -> Result<String, ActionError> {
    let quoted = |name: &str| format!("[{}]", name.replace(']', "]]"));
    let schema = name
        .schema
        .as_deref()
        .map_or_else(String::new, |schema| format!("{}.", quoted(schema)));
    literal(&format!("{schema}{}", quoted(&name.name)))
}

/// What the catalogue says of a table or a view.
pub async fn describe(session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
    let of = format!("object_id({})", object(name)?);
    // A type of the house is read as what it is made of; a CLR type has no other name than its own.
    let sql = format!(
        "select name, isnull(type_name(system_type_id), type_name(user_type_id)), is_nullable, scale, max_length \
         from sys.columns where object_id = {of} order by column_id"
    );
    let columns: Vec<Column> = catalogue(session, &sql).await?.iter().map(|row| column(row)).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "select i.index_id, c.name, c.is_nullable, i.is_primary_key from sys.indexes i \
         join sys.index_columns k on k.object_id = i.object_id and k.index_id = i.index_id \
         join sys.columns c on c.object_id = k.object_id and c.column_id = k.column_id \
         where i.object_id = {of} and i.is_unique = 1 and i.has_filter = 0 and i.is_disabled = 0 \
         and i.is_hypothetical = 0 and k.key_ordinal > 0 order by i.is_primary_key desc, i.index_id, k.key_ordinal"
    );
    let parts = catalogue(session, &sql).await?;
    // What is given as NULL twice is no key, though one such row is all that an index allows.
    let keys = keys(&parts, |row| !yes(cell(row, 2)));
    let sql = format!("select sum(rows) from sys.partitions where object_id = {of} and index_id in (0, 1)");
    let estimate = catalogue(session, &sql).await?;
    Ok(Some(Table {
        name: name.clone(),
        columns,
        primary: parts.first().is_some_and(|row| yes(cell(row, 3))),
        keys,
        estimate: estimate.first().and_then(|row| cell(row, 0).parse().ok()),
    }))
}

/// What keeps rows or values of a table from a reader who is told nothing of it: predicates of security policies, masks,
/// tables that lie elsewhere. All of them since 2016.
pub async fn remarks(session: &mut dyn Session, name: &TableName) -> Result<Remarks, ActionError> {
    let of = format!("object_id({})", object(name)?);
    let mut told = Remarks::default();
    let sql = "select parsename(cast(serverproperty('ProductVersion') as nvarchar(128)), 4), \
               has_perms_by_name(db_name(), 'DATABASE', 'VIEW DEFINITION'), \
               has_perms_by_name(db_name(), 'DATABASE', 'UNMASK')";
    let known = catalogue(session, sql).await?;
    let known = known.first().map(Vec::as_slice).unwrap_or_default();
    if cell(known, 0).parse::<u32>().is_ok_and(|major| major < 13) {
        return Ok(told);
    }
    if !yes(cell(known, 1)) {
        told.problems.push(
            "it may not be seen whether a security policy hides rows of it; grant VIEW DEFINITION on the database to the \
             connection's user"
                .to_owned(),
        );
    }
    let sql = format!(
        "select p.name from sys.security_policies p join sys.security_predicates r on r.object_id = p.object_id \
         where r.target_object_id = {of} and p.is_enabled = 1 and r.predicate_type = 0"
    );
    for policy in catalogue(session, &sql).await? {
        told.problems.push(format!(
            "the security policy {} hides rows of it from whom it will; switch it off for the comparison",
            cell(&policy, 0)
        ));
    }
    if !yes(cell(known, 2)) {
        let sql = format!("select name from sys.masked_columns where object_id = {of} and is_masked = 1");
        for column in catalogue(session, &sql).await? {
            told.problems.push(format!(
                "column {} is masked for the connection's user; grant UNMASK to it",
                cell(&column, 0)
            ));
        }
    }
    let sql = format!("select name from sys.external_tables where object_id = {of}");
    if !catalogue(session, &sql).await?.is_empty() {
        told.problems.push(
            "its rows lie outside of the database, where nothing is watched; compare them where they are".to_owned(),
        );
    }
    Ok(told)
}

/// Whether the engine says yes: a flag is shown as a number.
fn yes(cell: &str) -> bool {
    cell == "1"
}

fn cell(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

fn column(row: &[String]) -> Column {
    let declared = cell(row, 1).to_ascii_lowercase();
    let scale: u32 = cell(row, 3).parse().unwrap_or(0);
    let length: i64 = cell(row, 4).parse().unwrap_or(0);
    let moment = |zoned| Kind::DateTime { fraction: scale, zoned };
    let (kind, trait_) = match declared.as_str() {
        "bit" => (Kind::Boolean, Trait::None),
        "tinyint" | "smallint" | "int" | "bigint" => (Kind::Integer, Trait::None),
        "decimal" | "numeric" => (Kind::Decimal { scale: Some(scale) }, Trait::None),
        "money" | "smallmoney" => (Kind::Decimal { scale: Some(4) }, Trait::None),
        "real" => (Kind::Float { single: true }, Trait::None),
        "float" => (Kind::Float { single: false }, Trait::None),
        "char" | "nchar" => (Kind::Text { fixed: true }, Trait::Converts),
        "varchar" | "nvarchar" | "text" | "ntext" | "sysname" => (Kind::Text { fixed: false }, Trait::Converts),
        "binary" | "varbinary" if length == 16 => (Kind::Binary, Trait::Sixteen),
        "timestamp" | "rowversion" => (Kind::Binary, Trait::Counted),
        "binary" | "varbinary" | "image" => (Kind::Binary, Trait::None),
        // What they are in text is less than what they are: their own bytes are compared.
        "hierarchyid" | "geometry" | "geography" => (Kind::Binary, Trait::Cast),
        "date" => (Kind::Date, Trait::None),
        "time" => (Kind::Time { fraction: scale }, Trait::None),
        "datetime2" => (moment(false), Trait::None),
        "datetimeoffset" => (moment(true), Trait::Offset),
        // In steps of 1/300 of a second: shown in milliseconds.
        "datetime" => (
            Kind::DateTime {
                fraction: 3,
                zoned: false,
            },
            Trait::None,
        ),
        "smalldatetime" => (
            Kind::DateTime {
                fraction: 0,
                zoned: false,
            },
            Trait::None,
        ),
        "uniqueidentifier" => (Kind::Uuid, Trait::None),
        "json" => (Kind::Json, Trait::Cast),
        _ => (Kind::Other, Trait::None),
    };
    Column {
        name: cell(row, 0).to_owned(),
        kind,
        declared: match declared.as_str() {
            "timestamp" => ROWVERSION.to_owned(),
            _ => declared,
        },
        nullable: yes(cell(row, 2)),
        trait_,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_twice() {
        assert_eq!(object(&TableName::parse("o'b")).unwrap(), "'[o''b]'");
        assert_eq!(object(&TableName::parse("s.a]b")).unwrap(), "'[s].[a]]b]'");
    }

    #[test]
    fn types_are_read_as_what_they_hold() {
        let told = |declared: &str, scale: &str, length: &str| {
            let row = ["c", declared, "1", scale, length].map(str::to_owned);
            column(&row)
        };
        let kind = |declared: &str, scale: &str| told(declared, scale, "8").kind;
        assert_eq!(kind("MONEY", "4"), Kind::Decimal { scale: Some(4) });
        assert_eq!(kind("decimal", "0"), Kind::Decimal { scale: Some(0) });
        assert_eq!(
            kind("datetime2", "7"),
            Kind::DateTime {
                fraction: 7,
                zoned: false
            }
        );
        assert_eq!(
            kind("datetimeoffset", "3"),
            Kind::DateTime {
                fraction: 3,
                zoned: true
            }
        );
        assert_eq!(kind("geography", "0"), Kind::Binary);
        assert_eq!(kind("sql_variant", "0"), Kind::Other);
        assert_eq!(told("timestamp", "0", "8").declared, ROWVERSION);
        assert_eq!(told("varbinary", "0", "16").trait_, Trait::Sixteen);
    }
}
