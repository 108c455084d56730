//! MySQL 5.7 and later, MariaDB 10.3 and later.

use async_trait::async_trait;

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Ask, Bucket, Dialect, Field, catalogue, literal, row_text};
use crate::provider::sql::compare::form::Form;
use crate::provider::sql::compare::kind::{Column, Kind, Table, TableName, Trait, keys};
use crate::provider::sql::session::Session;

/// MySQL and MariaDB.
pub struct Mysql;

impl Mysql {
    fn row(&self, fields: &[Field]) -> Option<String> {
        row_text(
            fields,
            |field| self.exact(field),
            // Texts that are joined within one that is joined take a fifth longer.
            |text| vec![format!("length({text})"), "':'".to_owned(), text.to_owned()],
            |text| format!("ifnull({text},'N')"),
            |parts| format!("concat({})", parts.join(",")),
        )
    }
}

#[async_trait]
impl Dialect for Mysql {
    fn name(&self) -> &'static str {
        "MySQL"
    }

    fn quote(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn snapshot(&self, _shared: Option<&str>) -> Vec<String> {
        // Only at this level is there a state that is the same for every statement.
        vec![
            "set session transaction isolation level repeatable read".to_owned(),
            "start transaction with consistent snapshot, read only".to_owned(),
        ]
    }

    fn tables(&self) -> &'static str {
        "select table_name from information_schema.tables where table_schema = database() and table_type in ('BASE TABLE', 'SYSTEM VERSIONED') \
         order by table_name"
    }

    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
        let schema = name.schema.as_deref().map_or(Ok("database()".to_owned()), literal)?;
        let table = literal(&name.name)?;
        let of = format!("table_schema = {schema} and table_name = {table}");
        let sql = format!(
            "select column_name, data_type, column_type, is_nullable, numeric_scale, datetime_precision, \
             character_set_name, character_maximum_length, character_octet_length, @@max_allowed_packet \
             from information_schema.columns where {of} order by ordinal_position"
        );
        let rows = catalogue(session, &sql).await?;
        let mut columns: Vec<Column> = rows.iter().map(|row| column(row)).collect();
        long(&mut columns, &rows);
        if columns.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "select index_name, column_name, nullable, sub_part from information_schema.statistics \
             where {of} and non_unique = 0 order by index_name <> 'PRIMARY', index_name, seq_in_index"
        );
        let parts = catalogue(session, &sql).await?;
        let keys = keys(&parts, |row| {
            cell(row, 2) != "YES" && cell(row, 3).is_empty() && !cell(row, 1).is_empty()
        });
        let primary = parts.iter().any(|row| cell(row, 0) == "PRIMARY");
        let sql = format!("select table_rows from information_schema.tables where {of}");
        let estimate = catalogue(session, &sql).await?;
        Ok(Some(Table {
            name: name.clone(),
            columns,
            primary,
            keys,
            estimate: estimate.first().and_then(|row| cell(row, 0).parse().ok()),
        }))
    }

    fn exact(&self, field: &Field) -> Option<String> {
        let column = &field.column;
        if column.trait_ == Trait::Long {
            return None;
        }
        let name = self.quote(&column.name);
        let own = match column.kind {
            Kind::DateTime { fraction, .. } | Kind::Time { fraction } => fraction,
            Kind::Decimal { scale } => scale.unwrap_or(0),
            _ => 0,
        };
        Some(match field.form {
            Form::Whole if matches!(column.trait_, Trait::ZeroFill | Trait::Bits) => format!("({name}+0)"),
            Form::Whole => name,
            Form::Fixed(scale)
                if scale == own && column.trait_ == Trait::None && matches!(column.kind, Kind::Decimal { .. }) =>
            {
                name
            }
            Form::Fixed(scale)
                if scale <= 30
                    && column.trait_ != Trait::Bits
                    && matches!(column.kind, Kind::Integer | Kind::Boolean) =>
            {
                format!("cast({name} as decimal(65,{scale}))")
            }
            // Its whole digits and these may be more than a decimal has.
            Form::Fixed(_) => return None,
            // The engine cuts what fills a CHAR itself, and only spaces are cut here.
            Form::Text | Form::Trimmed if matches!(column.kind, Kind::Text { .. }) => {
                let text = match column.trait_ {
                    Trait::Converts => format!("convert({name} using utf8mb4)"),
                    _ => name,
                };
                if field.form == Form::Trimmed {
                    format!("trim(trailing ' ' from {text})")
                } else {
                    text
                }
            }
            Form::Hex => format!("lower(hex({name}))"),
            Form::Date if column.kind == Kind::Date => name,
            // Digits are added as text: a cast would make NULL of a day that is none.
            Form::DateTime(fraction) if column.kind == Kind::Date => more(&format!("{name},' 00:00:00'"), 0, fraction),
            Form::DateTime(fraction) | Form::Time(fraction) if fraction <= own && !column.nullable => name,
            Form::DateTime(fraction) | Form::Time(fraction) => more(&name, own, fraction),
            Form::Uuid if column.kind == Kind::Uuid => format!("lower({name})"),
            // A text may be none, and is not measured.
            Form::Uuid if column.kind != Kind::Binary => return None,
            Form::Uuid => {
                let part = |from: u32, long: u32| format!("substr(hex({name}),{from},{long})");
                let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
                format!("lower(concat_ws('-',{}))", parts.join(","))
            }
            Form::Text | Form::Trimmed | Form::Date | Form::Loose | Form::Float { .. } | Form::Json => return None,
        })
    }

    fn plain(&self, field: &Field) -> String {
        let name = self.quote(&field.column.name);
        match (&field.column.kind, field.form) {
            // A FLOAT is shown with six digits, which are not all that it has.
            (Kind::Float { single: true }, _) => format!("({name}+0e0)"),
            (_, Form::Hex) | (Kind::Binary, Form::Uuid) => format!("hex({name})"),
            _ if field.column.trait_ == Trait::Bits => format!("({name}+0)"),
            // What has no text of its own would come as bytes.
            (Kind::Other, Form::Text) => format!("cast({name} as char)"),
            _ => name,
        }
    }

    fn sums(&self, ask: &Ask<'_>) -> Option<String> {
        // A row's text that the server makes NULL of would be left out of the sum on both sides: it is summed as a number that
        // no other question has, and the rows decide. Counting it would mean to hash every row twice.
        let sums = format!(
            "count(*), null, sum(ifnull(cast(conv(left(sha2({},256),16),16,10) as unsigned),{})) from {}",
            self.row(ask.fields)?,
            rand::random::<u64>() >> 2,
            self.table(ask.table)
        );
        match ask.bucket {
            // A query for each costs a fifth less than sums that a temporary table keeps as decimals for every row.
            Bucket::Step(_) => {
                let name = self.quote(&ask.leading()?.column.name);
                let piece = |(at, wanted): (i64, String)| format!("select {at}, {sums}{wanted}");
                let pieces: Vec<String> = ask.pieces(&name).into_iter().map(piece).collect();
                (!pieces.is_empty()).then(|| pieces.join(" union all "))
            }
            Bucket::Hash { digits } => {
                let key: Vec<Field> = ask.key.iter().filter_map(|at| ask.fields.get(*at)).cloned().collect();
                let bucket = format!("left(sha2({},256),{digits})", self.row(&key)?);
                Some(format!("select {bucket} b, {sums}{} group by 1", ask.wanted()))
            }
        }
    }

    fn touched(&self, tables: &[TableName]) -> Option<String> {
        let each: Option<Vec<String>> = tables
            .iter()
            .map(|table| {
                let schema = match &table.schema {
                    Some(schema) => literal(schema).ok()?,
                    None => "database()".to_owned(),
                };
                Some(format!(
                    "(table_schema = {schema} and table_name = {})",
                    literal(&table.name).ok()?
                ))
            })
            .collect();
        // Other engines do not keep the time, and one that is not in the cache any more has forgotten it.
        Some(format!(
            "select if(update_time is null and (select count(*) from information_schema.tables where table_schema not in \
             ('information_schema', 'performance_schema', 'mysql', 'sys')) > @@table_definition_cache, null, \
             concat_ws(' ', table_name, create_time, ifnull(update_time, '-'))), \
             update_time >= now() - interval 1 second from information_schema.tables \
             where table_type <> 'VIEW' and engine in ('InnoDB', 'MyISAM', 'Aria') and ({}) order by table_schema, table_name",
            each?.join(" or ")
        ))
    }

    fn anew(&self) -> bool {
        true
    }

    fn watch(&self) -> &'static str {
        "UPDATE_TIME of every table (information_schema.tables), which a server with more tables than its \
         table_definition_cache may forget"
    }
}

fn cell(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

/// A clock's text with further digits of a second.
fn more(parts: &str, own: u32, fraction: u32) -> String {
    let zeros = "0".repeat(usize::try_from(fraction.saturating_sub(own)).unwrap_or(0));
    let point = if own == 0 && fraction > 0 { "." } else { "" };
    format!("concat({parts},'{point}{zeros}')")
}

/// What the server would make NULL of, because a row's text could be longer than it lets one be, it must not hash: NULL on
/// both sides would be equal.
fn long(columns: &mut [Column], rows: &[Vec<String>]) {
    let octets = |row: &Vec<String>| cell(row, 8).parse::<u64>().unwrap_or(0);
    let most: u64 = rows.first().and_then(|row| cell(row, 9).parse().ok()).unwrap_or(0);
    // In hexadecimal a byte is two, in UTF-8 it may be three; numbers and dates are short.
    let whole = rows.iter().map(|row| 3 * octets(row) + 100).sum::<u64>();
    if whole <= most {
        return;
    }
    let longest = rows.iter().map(octets).max().unwrap_or(0);
    for (column, row) in columns.iter_mut().zip(rows) {
        if octets(row) == longest {
            column.trait_ = Trait::Long;
        }
    }
}

fn column(row: &[String]) -> Column {
    let (kind, declared) = (cell(row, 1).to_ascii_lowercase(), cell(row, 2).to_owned());
    let fraction = cell(row, 5).parse().unwrap_or(0);
    let charset = cell(row, 6);
    let length: u64 = cell(row, 7).parse().unwrap_or(0);
    let (known, trait_) = match kind.as_str() {
        "bit" => (Kind::Integer, Trait::Bits),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => (
            Kind::Integer,
            if declared.contains("zerofill") || kind == "year" {
                Trait::ZeroFill
            } else {
                Trait::None
            },
        ),
        "decimal" => (
            Kind::Decimal {
                scale: cell(row, 4).parse().ok(),
            },
            if declared.contains("zerofill") {
                Trait::ZeroFill
            } else {
                Trait::None
            },
        ),
        "float" => (Kind::Float { single: true }, Trait::None),
        "double" => (Kind::Float { single: false }, Trait::None),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => (
            Kind::Text { fixed: kind == "char" },
            if charset.starts_with("utf8") || charset == "ascii" {
                Trait::None
            } else {
                Trait::Converts
            },
        ),
        "binary" | "varbinary" => (Kind::Binary, if length == 16 { Trait::Sixteen } else { Trait::None }),
        "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point" | "linestring" | "polygon"
        | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection" | "vector" => {
            (Kind::Binary, Trait::None)
        }
        "date" => (Kind::Date, Trait::None),
        "time" => (Kind::Time { fraction }, Trait::None),
        "datetime" => (Kind::DateTime { fraction, zoned: false }, Trait::None),
        "timestamp" => (Kind::DateTime { fraction, zoned: true }, Trait::None),
        "uuid" => (Kind::Uuid, Trait::None),
        "json" => (Kind::Json, Trait::None),
        _ => (Kind::Other, Trait::None),
    };
    Column {
        name: cell(row, 0).to_owned(),
        kind: known,
        declared,
        nullable: cell(row, 3) == "YES",
        trait_,
    }
}
