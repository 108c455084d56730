//! SQL Server and Azure SQL. Hashing there takes a UTF-8 collation (2019 and later); where that is missing, or where its
//! sums are not those of the same rows read here, its rows are read. So HASHBYTES is never asked where it takes 8,000 bytes
//! only (before 2016).
//!
//! By Microsoft's documentation, and never run against a SQL Server: what the tests' peer cannot do is scripted there.
//!
//! Who has written, in two ways. A database that is READ_ONLY, or a snapshot of one, can be written by nobody, and cannot be
//! made writable while a session is in it: the session that watches is in it from the beginning to the end, and is named in
//! what is compared. Else a commit is not confirmed before its log is on disk: while the log's file has not grown by a byte,
//! nothing was committed (no delayed durability, no memory-optimized tables, no FileTables, whose files are written past it,
//! no second log file, which could be memory, no secondary). The log grows without anybody's rows too, by checkpoints and
//! statistics: false alarms are possible.
//! Not the counters of `sys.dm_db_index_operational_stats`: they go with a cache's entry and begin again at zero, so that
//! two equal readings may have a write between them.

use async_trait::async_trait;

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Ask, Bucket, Dialect, Field, Remarks, row_text};
use crate::provider::sql::compare::form::Form;
use crate::provider::sql::compare::kind::{Kind, Table, TableName, Trait};
use crate::provider::sql::session::Session;
use crate::provider::sql::sqlserver::session::SNAPSHOT;

use super::sqlserver_catalogue::{self, object};

/// SQL Server.
pub struct Sqlserver;

const UTF8: &str = "collate Latin1_General_100_BIN2_UTF8";

/// Which session asks: the same answer is the same session's.
const ASKING: &str = "(select convert(varchar(11), session_id)+' '+convert(varchar(23), login_time, 121) from \
                      sys.dm_exec_sessions where session_id = @@spid)";

/// What holds of a database of which one of the two ways tells: on premises, and without tables that no log has.
const KNOWN: &str = "cast(serverproperty('EngineEdition') as int) in (2, 3, 4) and not exists (select 1 from \
                     sys.filegroups where type = 'FX')";

/// A text of any length: what is joined to it is not cut at 8,000 bytes.
fn unlimited(text: &str) -> String {
    format!("cast(cast({text} as nvarchar(max)) {UTF8} as varchar(max))")
}

impl Sqlserver {
    fn row(&self, fields: &[Field]) -> Option<String> {
        row_text(
            fields,
            |field| self.exact(field),
            |text| vec![format!("cast(datalength({text}) as varchar(20))+':'+{text}")],
            |text| format!("isnull({text},'N')"),
            // Texts are joined from the left, and short ones would make a short one.
            |parts| format!("cast('' as varchar(max))+{}", parts.join("+")),
        )
    }

    fn ids(tables: &[TableName]) -> Option<String> {
        let each: Option<Vec<String>> = tables
            .iter()
            .map(|table| Some(format!("object_id({})", object(table).ok()?)))
            .collect();
        Some(each?.join(", "))
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
        // Where the database allows it. What its sessions see is one state only as long as nobody writes, which is watched.
        vec![SNAPSHOT.to_owned()]
    }

    fn tables(&self) -> &'static str {
        "select name from sys.tables where schema_id = schema_id() order by name"
    }

    fn count(&self) -> &'static str {
        "count_big(*)"
    }

    fn some(&self, table: &str, most: u64) -> String {
        format!("select count_big(*) from (select top ({most}) 1 n from {table}) x")
    }

    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
        sqlserver_catalogue::describe(session, name).await
    }

    async fn remarks(&self, session: &mut dyn Session, name: &TableName) -> Result<Remarks, ActionError> {
        sqlserver_catalogue::remarks(session, name).await
    }

    fn exact(&self, field: &Field) -> Option<String> {
        let name = self.quote(&field.column.name);
        let column = &field.column;
        let kind = &column.kind;
        Some(match field.form {
            Form::Whole if matches!(kind, Kind::Integer | Kind::Boolean) => format!("cast({name} as varchar(20))"),
            Form::Fixed(scale) => match kind {
                // Money as a text has two of its four places.
                Kind::Decimal { .. } if column.declared.contains("money") && scale == 4 => {
                    format!("cast(cast({name} as decimal(19,4)) as varchar(42))")
                }
                Kind::Decimal { scale: Some(own) } if *own == scale && !column.declared.contains("money") => {
                    format!("cast({name} as varchar(42))")
                }
                Kind::Integer | Kind::Boolean if scale <= 18 => {
                    format!("cast(cast({name} as decimal(38,{scale})) as varchar(42))")
                }
                // Its whole digits and these may be more than a decimal has.
                _ => return None,
            },
            Form::Text if matches!(kind, Kind::Text { .. }) => unlimited(&name),
            Form::Trimmed if matches!(kind, Kind::Text { .. }) => unlimited(&format!("rtrim({name})")),
            Form::Hex if *kind == Kind::Binary => {
                format!("lower(convert(varchar(max),cast({name} as varbinary(max)),2))")
            }
            Form::Date if *kind == Kind::Date => format!("convert(varchar(10),{name},23)"),
            Form::DateTime(fraction) if matches!(kind, Kind::DateTime { .. }) => moment(&name, field, fraction),
            Form::Uuid if *kind == Kind::Uuid => format!("lower(cast({name} as char(36)))"),
            Form::Uuid
            | Form::Hex
            | Form::Whole
            | Form::Text
            | Form::Trimmed
            | Form::Date
            | Form::DateTime(_)
            | Form::Time(_)
            | Form::Loose
            | Form::Float { .. }
            | Form::Json => return None,
        })
    }

    fn plain(&self, field: &Field) -> String {
        let name = self.quote(&field.column.name);
        let declared = field.column.declared.as_str();
        match &field.column.kind {
            Kind::Integer | Kind::Boolean => format!("cast({name} as varchar(20))"),
            Kind::Decimal { .. } if declared.contains("money") => {
                format!("cast(cast({name} as decimal(19,4)) as varchar(42))")
            }
            Kind::Decimal { .. } => format!("cast({name} as varchar(42))"),
            Kind::Binary if field.column.trait_ == Trait::Cast => format!("cast({name} as varbinary(max))"),
            Kind::Date => format!("convert(varchar(10),{name},23)"),
            Kind::DateTime { fraction, .. } => moment(&name, field, *fraction),
            Kind::Time { fraction } => fractioned(&format!("convert(varchar(8),{name},114)"), &name, *fraction),
            Kind::Uuid => format!("cast({name} as varchar(36))"),
            // As its bytes and bits: the driver writes the digits that they need.
            Kind::Binary | Kind::Float { .. } | Kind::Text { .. } => name,
            // By its type and its bytes: the text of a float would be less than it is.
            Kind::Other if declared == "sql_variant" => format!(
                "cast(sql_variant_property({name},'BaseType') as nvarchar(128))+N' '+\
                 convert(nvarchar(max),cast({name} as varbinary(8000)),2)"
            ),
            // With its offset.
            // With all of its digits, whatever its own scale.
            Kind::Other if declared == "datetimeoffset" => {
                format!("convert(nvarchar(40),cast({name} as datetimeoffset(7)),121)")
            }
            Kind::Json | Kind::Other => format!("cast({name} as nvarchar(max))"),
        }
    }

    fn sums(&self, ask: &Ask<'_>) -> Option<String> {
        let bucket = match ask.bucket {
            Bucket::Step(range) => {
                let (low, step) = (range.low, range.step());
                let name = self.quote(&ask.leading()?.column.name);
                // Between both ends of a bigint lies more than one holds. A decimal divides into digits after the point,
                // which may be rounded up: what is left over is taken off before.
                let above = format!("(cast({name} as decimal(38,0))-({low}))");
                format!("cast(({above}-{above}%{step})/{step} as decimal(38,0))")
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

    fn closed(&self, tables: &[TableName]) -> Option<String> {
        Some(format!(
            "select convert(varchar(20), t.object_id)+' closed '+convert(varchar(11), d.database_id)+' '+\
             convert(varchar(23), d.create_date, 121)+' '+{ASKING}, 0 \
             from sys.tables t cross join sys.databases d where t.object_id in ({}) and d.name = db_name() \
             and (d.is_read_only = 1 or d.source_database_id is not null) and d.is_in_standby = 0 and d.state = 0 \
             and {KNOWN} order by t.object_id",
            Self::ids(tables)?
        ))
    }

    fn touched(&self, tables: &[TableName]) -> Option<String> {
        Some(format!(
            "select convert(varchar(20), t.object_id)+' '+convert(varchar(20), l.bytes)+' '+\
             convert(varchar(23), d.create_date, 121)+' '+{ASKING}, \
             case when exists (select 1 from sys.dm_tran_database_transactions x where x.database_id = db_id() \
             and x.database_transaction_log_record_count > 0) then 1 else 0 end \
             from sys.tables t cross join sys.databases d cross join (select count_big(*) files, \
             sum(s.num_of_bytes_written) bytes from sys.dm_io_virtual_file_stats(db_id(), null) s \
             join sys.database_files f on f.file_id = s.file_id where f.type = 1) l \
             where t.object_id in ({}) and t.is_filetable = 0 and d.name = db_name() and d.is_read_only = 0 \
             and d.delayed_durability = 0 \
             and d.is_in_standby = 0 and d.state = 0 and l.files = 1 \
             and cast(databasepropertyex(db_name(), 'Updateability') as nvarchar(60)) = 'READ_WRITE' and {KNOWN} \
             order by t.object_id",
            Self::ids(tables)?
        ))
    }

    fn watch(&self) -> &'static str {
        "the database being READ_ONLY or a snapshot; else the bytes written to its log and its open transactions, which \
         takes VIEW SERVER STATE (not on Azure, and not with memory-optimized tables or delayed durability)"
    }
}

/// Date and time; an instant as UTC.
fn moment(name: &str, field: &Field, fraction: u32) -> String {
    match (&field.column.kind, field.column.declared.as_str()) {
        (Kind::DateTime { zoned: true, .. }, _) => {
            let utc = format!("switchoffset({name},'+00:00')");
            fractioned(&format!("convert(varchar(19),{utc},121)"), &utc, fraction)
        }
        // Only as it is shown it is rounded to the millisecond; DATEPART gives thirds of one.
        (_, "datetime") => {
            let whole = format!("convert(varchar(23),{name},121)");
            match fraction {
                0..=3 => whole,
                _ => format!("{whole}+'{}'", "0".repeat(usize::try_from(fraction - 3).unwrap_or(0))),
            }
        }
        (_, "smalldatetime") => {
            let zeros = "0".repeat(usize::try_from(fraction).unwrap_or(0));
            let point = if fraction > 0 { "." } else { "" };
            format!("convert(varchar(19),{name},121)+'{point}{zeros}'")
        }
        (_, _) => fractioned(&format!("convert(varchar(19),{name},121)"), name, fraction),
    }
}

/// A clock with so many digits of a second, which no style of CONVERT gives alike everywhere.
fn fractioned(whole: &str, name: &str, fraction: u32) -> String {
    match fraction {
        0 => whole.to_owned(),
        some => format!(
            "{whole}+'.'+left(right('000000000'+convert(varchar(9),datepart(nanosecond,{name})),9),{})",
            some.min(9)
        ),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::provider::sql::compare::cursor::Range;
    use crate::provider::sql::compare::kind::Column;
    use crate::provider::sql::reading::reads;
    use crate::provider::sql::server::Engine;

    fn field(kind: Kind, declared: &str, form: Form) -> Field {
        Field {
            column: Column {
                name: "c".to_owned(),
                kind,
                declared: declared.to_owned(),
                nullable: true,
                trait_: Trait::None,
            },
            form,
        }
    }

    #[test]
    fn steps_are_counted_between_both_ends_of_a_bigint() {
        let fields = [field(Kind::Integer, "bigint", Form::Whole)];
        let table = TableName::parse("dbo.t");
        let ask = Ask {
            table: &table,
            filter: "",
            fields: &fields,
            key: &[0],
            bucket: Bucket::Step(Range::EVERYTHING),
            own: None,
        };
        let sums = Sqlserver.sums(&ask).unwrap();
        let above = "(cast([c] as decimal(38,0))-(0))";
        let bucket = format!("(select cast(({above}-{above}%1)/1 as decimal(38,0)) b, ");
        assert!(sums.contains(&bucket), "{sums}");
    }

    #[test]
    fn values_keep_all_of_their_digits() {
        let money = field(Kind::Decimal { scale: Some(4) }, "smallmoney", Form::Fixed(4));
        let whole = "cast(cast([c] as decimal(19,4)) as varchar(42))";
        assert_eq!(Sqlserver.exact(&money).unwrap(), whole);
        assert_eq!(Sqlserver.plain(&money), whole);
        let kind = Kind::DateTime {
            fraction: 3,
            zoned: false,
        };
        let old = field(kind, "datetime", Form::DateTime(6));
        assert_eq!(Sqlserver.exact(&old).unwrap(), "convert(varchar(23),[c],121)+'000'");
        let kind = Kind::DateTime {
            fraction: 7,
            zoned: false,
        };
        let new = field(kind, "datetime2", Form::DateTime(7));
        assert!(Sqlserver.exact(&new).unwrap().ends_with(",9),7)"));
        // More digits than it has room for with its whole ones.
        let wide = field(Kind::Decimal { scale: Some(2) }, "decimal", Form::Fixed(30));
        assert_eq!(Sqlserver.exact(&wide), None);
    }

    #[test]
    fn a_row_is_joined_without_a_limit() {
        let text = field(Kind::Text { fixed: false }, "varchar", Form::Text);
        let row = Sqlserver.row(&[text.clone(), text]).unwrap();
        assert!(row.starts_with("cast('' as varchar(max))+isnull("), "{row}");
        assert_eq!(row.matches("nvarchar(max)) collate").count(), 4, "{row}");
    }

    #[test]
    fn the_watch_only_reads() {
        let tables = [TableName::parse("t"), TableName::parse("s.[u]")];
        for sql in [Sqlserver.closed(&tables), Sqlserver.touched(&tables)] {
            let sql = sql.unwrap();
            reads(Engine::Sqlserver, &sql).unwrap();
            assert!(sql.contains("object_id('[t]'), object_id('[s].[[u]]]')"), "{sql}");
        }
    }
}
