//! SQL Server and Azure SQL. Hashing there takes a UTF-8 collation (2019 and later); where that is missing, or where its
//! sums are not those of the same rows read here, its rows are read.

use async_trait::async_trait;

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Ask, Bucket, Dialect, Field, catalogue, literal, row_text};
use crate::provider::sql::compare::form::Form;
use crate::provider::sql::compare::kind::{Column, Kind, Table, TableName, Trait};
use crate::provider::sql::session::Session;

/// SQL Server.
pub struct Sqlserver;

const UTF8: &str = "collate Latin1_General_100_BIN2_UTF8";

impl Sqlserver {
    fn row(&self, fields: &[Field]) -> Option<String> {
        row_text(
            fields,
            |field| self.exact(field),
            |text| format!("cast(datalength({text}) as varchar(11))+':'+{text}"),
            |text| format!("isnull({text},'N')"),
            |parts| parts.join("+"),
        )
    }
}

#[async_trait]
impl Dialect for Sqlserver {
    fn name(&self) -> &'static str {
        "SQL Server"
    }

    fn quote(&self, name: &str) -> String {
        format!("[{}]", name.replace(']', "]]"))
    }

    fn snapshot(&self, _shared: Option<&str>) -> Vec<String> {
        // Snapshot isolation is a setting of the database that not every one has: who writes is watched instead.
        Vec::new()
    }

    fn tables(&self) -> &'static str {
        "select name from sys.tables where schema_id = schema_id() order by name"
    }

    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
        let schema = name.schema.as_deref().map_or(Ok("schema_name()".to_owned()), literal)?;
        let table = literal(&name.name)?;
        let of = format!("table_schema = {schema} and table_name = {table}");
        let sql = format!(
            "select column_name, data_type, is_nullable, numeric_precision, numeric_scale, datetime_precision, \
             character_maximum_length from information_schema.columns where {of} order by ordinal_position"
        );
        let columns: Vec<Column> = catalogue(session, &sql).await?.iter().map(|row| column(row)).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "select k.column_name from information_schema.key_column_usage k \
             join information_schema.table_constraints c on c.constraint_name = k.constraint_name \
             and c.table_schema = k.table_schema and c.table_name = k.table_name \
             where k.table_schema = {schema} and k.table_name = {table} and c.constraint_type = 'PRIMARY KEY' \
             order by k.ordinal_position"
        );
        let key = catalogue(session, &sql).await?;
        Ok(Some(Table {
            name: name.clone(),
            columns,
            primary: !key.is_empty(),
            keys: Some(key.iter().map(|row| cell(row, 0).to_owned()).collect())
                .filter(|key: &Vec<String>| !key.is_empty())
                .into_iter()
                .collect(),
            estimate: None,
        }))
    }

    fn exact(&self, field: &Field) -> Option<String> {
        let name = self.quote(&field.column.name);
        let kind = &field.column.kind;
        Some(match field.form {
            Form::Whole => format!("cast({name} as varchar(20))"),
            Form::Fixed(scale) => format!("cast(cast({name} as decimal(38,{scale})) as varchar(42))"),
            Form::Text => format!("cast({name} {UTF8} as varchar(max))"),
            Form::Trimmed => format!("cast(rtrim({name}) {UTF8} as varchar(max))"),
            Form::Hex => format!("lower(convert(varchar(max),{name},2))"),
            Form::Date => format!("convert(varchar(10),{name},23)"),
            Form::DateTime(fraction) if matches!(kind, Kind::DateTime { .. }) => clock(&name, 19, 121, fraction),
            Form::Uuid if *kind == Kind::Uuid => format!("lower(cast({name} as char(36)))"),
            Form::Uuid => format!("lower(cast({name} as varchar(36)))"),
            Form::DateTime(_) | Form::Time(_) | Form::Loose | Form::Float { .. } | Form::Json => return None,
        })
    }

    fn plain(&self, field: &Field) -> String {
        let name = self.quote(&field.column.name);
        match &field.column.kind {
            Kind::Integer | Kind::Boolean => format!("cast({name} as varchar(20))"),
            Kind::Decimal { .. } => format!("cast({name} as varchar(42))"),
            Kind::Binary => format!("convert(varchar(max),{name},2)"),
            Kind::Date => format!("convert(varchar(10),{name},23)"),
            Kind::DateTime { fraction, .. } => clock(&name, 19, 121, *fraction),
            Kind::Time { fraction } => clock(&name, 8, 114, *fraction),
            Kind::Uuid => format!("cast({name} as varchar(36))"),
            // Seventeen digits tell any two apart.
            Kind::Float { .. } => format!("convert(varchar(30),cast({name} as float(53)),3)"),
            Kind::Text { .. } | Kind::Json => name,
            Kind::Other => format!("cast({name} as nvarchar(max))"),
        }
    }

    fn sums(&self, ask: &Ask<'_>) -> Option<String> {
        let bucket = match ask.bucket {
            Bucket::Step(range) => {
                let (low, step) = (range.low, range.step());
                let name = self.quote(&ask.leading()?.column.name);
                format!("(cast({name} as bigint)-({low}))/{step}")
            }
            Bucket::Hash { digits } => {
                let key: Vec<Field> = ask.key.iter().filter_map(|at| ask.fields.get(*at)).cloned().collect();
                format!(
                    "lower(left(convert(varchar(64),hashbytes('SHA2_256',{}),2),{digits}))",
                    self.row(&key)?
                )
            }
        };
        Some(format!(
            "select b, count_big(*), count_big(h), sum(cast(substring(h,1,4) as bigint)), sum(cast(substring(h,5,4) as bigint)) from \
             (select {bucket} b, hashbytes('SHA2_256',{}) h from {}{}) q group by b",
            self.row(ask.fields)?,
            self.table(ask.table),
            ask.wanted()
        ))
    }

    fn touched(&self, _tables: &[TableName]) -> Option<String> {
        None
    }

    fn watch(&self) -> &'static str {
        "nothing: SQL Server tells who has written only to who may see the server's state"
    }
}

/// A clock with its fraction, whose digits no style of CONVERT gives alike everywhere.
fn clock(name: &str, length: u32, style: u32, fraction: u32) -> String {
    let whole = format!("convert(varchar({length}),{name},{style})");
    match fraction {
        0 => whole,
        1..=6 => {
            format!("{whole}+'.'+left(right('000000'+convert(varchar(6),datepart(microsecond,{name})),6),{fraction})")
        }
        _ => format!("{whole}+'.'+right('000000000'+convert(varchar(9),datepart(nanosecond,{name})),9)"),
    }
}

fn cell(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

fn column(row: &[String]) -> Column {
    let declared = cell(row, 1).to_ascii_lowercase();
    let scale = cell(row, 4).parse().ok();
    let fraction = cell(row, 5).parse().unwrap_or(0);
    let length: i64 = cell(row, 6).parse().unwrap_or(0);
    let (kind, trait_) = match declared.as_str() {
        "bit" => (Kind::Boolean, Trait::None),
        "tinyint" | "smallint" | "int" | "bigint" => (Kind::Integer, Trait::None),
        "decimal" | "numeric" => (Kind::Decimal { scale }, Trait::None),
        "money" | "smallmoney" => (Kind::Decimal { scale: Some(4) }, Trait::None),
        "real" => (Kind::Float { single: true }, Trait::None),
        "float" => (Kind::Float { single: false }, Trait::None),
        "char" | "nchar" => (Kind::Text { fixed: true }, Trait::Converts),
        "varchar" | "nvarchar" | "text" | "ntext" | "sysname" => (Kind::Text { fixed: false }, Trait::Converts),
        "binary" | "varbinary" | "image" | "timestamp" | "rowversion" => {
            (Kind::Binary, if length == 16 { Trait::Sixteen } else { Trait::None })
        }
        "date" => (Kind::Date, Trait::None),
        "time" => (Kind::Time { fraction }, Trait::None),
        "datetime2" => (Kind::DateTime { fraction, zoned: false }, Trait::None),
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
        _ => (Kind::Other, Trait::None),
    };
    Column {
        name: cell(row, 0).to_owned(),
        kind,
        declared,
        nullable: cell(row, 2).eq_ignore_ascii_case("yes"),
        trait_,
    }
}
