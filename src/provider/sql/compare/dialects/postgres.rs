//! PostgreSQL 11 and later.

use async_trait::async_trait;

use crate::provider::action::ActionError;
use crate::provider::sql::compare::dialect::{Ask, Bucket, Dialect, Field, catalogue, literal, row_text};
use crate::provider::sql::compare::form::Form;
use crate::provider::sql::compare::kind::{Column, Kind, Table, TableName, Trait, keys};
use crate::provider::sql::session::Session;

/// PostgreSQL.
pub struct Postgres;

impl Postgres {
    fn row(&self, fields: &[Field]) -> Option<String> {
        row_text(
            fields,
            |field| self.exact(field),
            |text| vec![format!("octet_length(convert_to({text},'UTF8'))||':'||{text}")],
            |text| format!("coalesce({text},'N')"),
            |parts| parts.join("||"),
        )
    }

    fn oid(&self, name: &TableName) -> Result<String, ActionError> {
        Ok(format!("to_regclass({})", literal(&self.table(name))?))
    }
}

#[async_trait]
impl Dialect for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn quote(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn snapshot(&self, shared: Option<&str>) -> Vec<String> {
        let mut statements = vec!["begin isolation level repeatable read read only".to_owned()];
        if let Some(shared) = shared.and_then(|shared| literal(shared).ok()) {
            statements.push(format!("set transaction snapshot {shared}"));
        }
        statements
    }

    fn share(&self) -> Option<&'static str> {
        Some("select pg_export_snapshot()")
    }

    fn tables(&self) -> &'static str {
        "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') \
         and not relispartition order by relname"
    }

    async fn describe(&self, session: &mut dyn Session, name: &TableName) -> Result<Option<Table>, ActionError> {
        let oid = self.oid(name)?;
        // From 18 on a column may be said not to be NULL of which that was never proven.
        let filled = "(a.attnotnull and not exists (select from pg_constraint n where n.conrelid = a.attrelid \
                      and n.contype = 'n' and not n.convalidated and a.attnum = any(n.conkey)))";
        // A domain may be made of another one: each is taken for what it is made of, to the last.
        let sql = format!(
            "with recursive made(attnum, oid, modifier) as (\
             select attnum, atttypid, atttypmod from pg_attribute where attrelid = {oid} and attnum > 0 and not attisdropped \
             union all select m.attnum, t.typbasetype, case when m.modifier = -1 then t.typtypmod else m.modifier end \
             from made m join pg_type t on t.oid = m.oid where t.typtype = 'd') \
             select a.attname, format_type(t.oid, null), format_type(a.atttypid, a.atttypmod), {filled}, m.modifier, t.typtype \
             from made m join pg_type t on t.oid = m.oid and t.typtype <> 'd' \
             join pg_attribute a on a.attrelid = {oid} and a.attnum = m.attnum order by a.attnum"
        );
        let columns: Vec<Column> = catalogue(session, &sql).await?.iter().map(|row| column(row)).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "select i.indexrelid, a.attname, {filled} from pg_index i \
             cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, position) \
             left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum \
             where i.indrelid = {oid} and i.indisunique and i.indisvalid and i.indpred is null \
             and k.position <= i.indnkeyatts order by not i.indisprimary, i.indexrelid, k.position"
        );
        let parts = catalogue(session, &sql).await?;
        let keys = keys(&parts, |row| cell(row, 2) == "t");
        let primary = format!("select count(*) from pg_index where indrelid = {oid} and indisprimary");
        let primary = catalogue(session, &primary).await?;
        let sql = format!("select reltuples::bigint from pg_class where oid = {oid} and reltuples >= 0");
        let estimate = catalogue(session, &sql).await?;
        Ok(Some(Table {
            name: name.clone(),
            columns,
            primary: primary.first().is_some_and(|row| cell(row, 0) != "0"),
            keys,
            estimate: estimate.first().and_then(|row| cell(row, 0).parse().ok()),
        }))
    }

    fn exact(&self, field: &Field) -> Option<String> {
        let name = self.quote(&field.column.name);
        let kind = &field.column.kind;
        Some(match field.form {
            Form::Whole if *kind == Kind::Boolean => format!("({name}::int)::text"),
            Form::Whole if *kind == Kind::Integer => format!("{name}::text"),
            Form::Fixed(scale) => match kind {
                Kind::Decimal { scale: Some(own) } if *own == scale => format!("{name}::text"),
                Kind::Decimal { scale: Some(_) } | Kind::Integer => format!("({name}::numeric(1000,{scale}))::text"),
                _ => return None,
            },
            Form::Text | Form::Trimmed if matches!(kind, Kind::Text { .. }) => {
                if field.form == Form::Trimmed {
                    format!("rtrim({name}::text,' ')")
                } else {
                    format!("{name}::text")
                }
            }
            Form::Hex => format!("encode({name},'hex')"),
            Form::Date if *kind == Kind::Date => format!("{name}::text"),
            Form::DateTime(fraction) if matches!(kind, Kind::DateTime { .. }) => {
                let digits = match fraction {
                    0 => "",
                    3 => ".MS",
                    6 => ".US",
                    _ => return None,
                };
                // What to_char has no year for is written as the engine writes it.
                format!(
                    "case when isfinite({name}) and {name} >= '0001-01-01' then to_char({name},'YYYY-MM-DD HH24:MI:SS{digits}') \
                     else {name}::text end"
                )
            }
            Form::Uuid if matches!(kind, Kind::Uuid) => format!("{name}::text"),
            Form::Whole
            | Form::Text
            | Form::Trimmed
            | Form::Date
            | Form::DateTime(_)
            | Form::Time(_)
            | Form::Loose
            | Form::Float { .. }
            | Form::Uuid
            | Form::Json => return None,
        })
    }

    fn plain(&self, field: &Field) -> String {
        let name = self.quote(&field.column.name);
        match field.column.trait_ {
            Trait::Cast => format!("{name}::text"),
            Trait::None
            | Trait::Converts
            | Trait::ZeroFill
            | Trait::Bits
            | Trait::Sixteen
            | Trait::Long
            | Trait::Counted
            | Trait::Offset => name,
        }
    }

    fn sums(&self, ask: &Ask<'_>) -> Option<String> {
        let bucket = match ask.bucket {
            Bucket::Step(range) => {
                let (low, step) = (range.low, range.step());
                let name = self.quote(&ask.leading()?.column.name);
                format!("({name}::bigint-({low}))/{step}")
            }
            Bucket::Hash { digits } => {
                let key: Vec<Field> = ask.key.iter().filter_map(|at| ask.fields.get(*at)).cloned().collect();
                format!(
                    "substr(encode(sha256(convert_to({},'UTF8')),'hex'),1,{digits})",
                    self.row(&key)?
                )
            }
        };
        // What is hashed is counted beside the rows, and computed once: nothing is pulled through an offset.
        Some(format!(
            "select b, count(*), count(h), sum(h) from (select {bucket} b, \
             ('x'||encode(substr(sha256(convert_to({},'UTF8')),1,8),'hex'))::bit(64)::bigint h from {}{} offset 0) q group by b",
            self.row(ask.fields)?,
            self.table(ask.table),
            ask.wanted()
        ))
    }

    fn touched(&self, tables: &[TableName]) -> Option<String> {
        let each: Option<Vec<String>> = tables.iter().map(|table| self.oid(table).ok()).collect();
        // A table's partitions count for themselves.
        Some(format!(
            "with recursive t(oid) as (select unnest(array[{}]::regclass[])::oid \
             union select inhrelid from pg_inherits join t on inhparent = t.oid) \
             select s.relid::text||' '||concat_ws(' ', s.n_tup_ins, s.n_tup_upd, s.n_tup_del, \
             case when pg_is_in_recovery() then pg_last_wal_replay_lsn()::text end), \
             (select count(*) > 0 from pg_stat_activity where datname = current_database() and backend_xid is not null), \
             txid_current_snapshot()::text, \
             (select count(*) > 0 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
             and coalesce(backend_type, 'client backend') = 'client backend' and application_name <> 'pointsman' \
             and (coalesce(state_change > now() - interval '11 seconds', true) or xact_start is not null)), \
             (select count(*) > 0 from pg_stat_activity o join pg_stat_activity me on me.pid = pg_backend_pid() \
             where o.datname = current_database() and o.pid <> me.pid and (o.backend_type like 'logical replication%' \
             or coalesce(o.backend_type, 'client backend') = 'client backend' and o.application_name <> 'pointsman' \
             and coalesce(o.xact_start > me.backend_start, \
             current_setting('server_version_num')::int < 150000 and coalesce(o.state_change > me.backend_start, true)))) \
             from t join pg_class c on c.oid = t.oid left join pg_stat_all_tables s on s.relid = t.oid \
             where current_setting('track_counts') = 'on' \
             and (c.relkind <> 'p' or current_setting('server_version_num')::int >= 140000) order by t.oid",
            each?.join(", ")
        ))
    }

    fn watch(&self) -> &'static str {
        "rows inserted, updated and deleted of every table (pg_stat_all_tables), and open transactions that have written"
    }
}

fn cell(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

fn column(row: &[String]) -> Column {
    let base = cell(row, 1);
    let modifier: i64 = cell(row, 4).parse().unwrap_or(-1);
    let fraction = u32::try_from(modifier).map_or(6, |digits| digits & 0xFFFF);
    let scale = (modifier >= 4).then(|| u32::try_from((modifier - 4) & 0x7FF).unwrap_or(0));
    let (kind, trait_) = match base {
        "boolean" => (Kind::Boolean, Trait::None),
        "smallint" | "integer" | "bigint" => (Kind::Integer, Trait::None),
        // A negative scale has its sign in the modifier's eleventh bit.
        "numeric" => (
            Kind::Decimal {
                scale: scale.filter(|scale| *scale < 1_024),
            },
            Trait::None,
        ),
        "real" => (Kind::Float { single: true }, Trait::None),
        "double precision" => (Kind::Float { single: false }, Trait::None),
        "character" => (Kind::Text { fixed: true }, Trait::None),
        "character varying" | "text" | "name" => (Kind::Text { fixed: false }, Trait::None),
        // A span, which other engines have as a time.
        "interval" => (Kind::Time { fraction: 6 }, Trait::Cast),
        "bytea" => (Kind::Binary, Trait::Sixteen),
        "date" => (Kind::Date, Trait::None),
        "time without time zone" => (Kind::Time { fraction }, Trait::None),
        "timestamp without time zone" => (Kind::DateTime { fraction, zoned: false }, Trait::None),
        "timestamp with time zone" => (Kind::DateTime { fraction, zoned: true }, Trait::None),
        "uuid" => (Kind::Uuid, Trait::None),
        "json" | "jsonb" => (Kind::Json, Trait::None),
        "citext" => (Kind::Text { fixed: false }, Trait::Cast),
        _ if cell(row, 5) == "e" => (Kind::Text { fixed: false }, Trait::Cast),
        _ => (Kind::Other, Trait::Cast),
    };
    Column {
        name: cell(row, 0).to_owned(),
        kind,
        declared: cell(row, 2).to_owned(),
        nullable: cell(row, 3) != "t",
        trait_,
    }
}
