//! Where PostgreSQL's catalogue has each kind of object. Owns the texts of its questions only; the tool's own tables and
//! what belongs to an extension or to the system are left out.

use super::inventory::{Lookup, Section};

macro_rules! ours {
    ($name:literal) => {
        concat!(
            " n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_t%' and ",
            $name,
            " not like 'pointsman\\_%' "
        )
    };
}

/// For a comparison with another PostgreSQL.
pub const NATIVE: &[Section] = &[Section::of(&[
    Lookup {
        what: "tables and columns",
        sql: concat!(
            "select 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), \
             format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end \
             || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') || a.attidentity::text || a.attgenerated::text \
             from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
             where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "sequences",
        sql: concat!(
            "select 'sequence', format('%I.%I', n.nspname, c.relname), format_type(q.seqtypid, null) || ' start ' || q.seqstart \
             || ' by ' || q.seqincrement || ' from ' || q.seqmin || ' to ' || q.seqmax || case when q.seqcycle then ' cycle' else '' end \
             from pg_sequence q join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace where",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "indexes",
        sql: concat!(
            "select 'index', format('%I.%I', n.nspname, i.relname), \
             pg_get_indexdef(x.indexrelid) || case when x.indisvalid then '' else ' (invalid)' end \
             from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid \
             join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'm') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "keys and constraints",
        sql: concat!(
            "select 'constraint', format('%I.%I.%I', n.nspname, c.relname, k.conname), \
             pg_get_constraintdef(k.oid) || case when k.convalidated then '' else ' (not validated)' end \
             from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace \
             where k.contype in ('p', 'u', 'f', 'c', 'x') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "triggers",
        sql: concat!(
            "select 'trigger', format('%I.%I.%I', n.nspname, c.relname, t.tgname), pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text \
             from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace \
             where not t.tgisinternal and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "views",
        sql: concat!(
            "select case c.relkind when 'v' then 'view' else 'materialized view' end, format('%I.%I', n.nspname, c.relname), \
             pg_get_viewdef(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('v', 'm') \
             and not exists (select 1 from pg_depend e where e.objid = c.oid and e.deptype = 'e') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "routines",
        sql: concat!(
            "select 'routine', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), \
             pg_get_functiondef(p.oid) from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
             where p.prokind in ('f', 'p', 'w') \
             and not exists (select 1 from pg_depend e where e.objid = p.oid and e.deptype = 'e') and",
            ours!("p.proname")
        ),
    },
    Lookup {
        what: "owners and grants of tables",
        sql: concat!(
            "select 'grant', format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner) || ': ' \
             || coalesce((select string_agg(coalesce(r.rolname::text, 'public') || ' ' || a.privilege_type \
             || case when a.is_grantable then '*' else '' end, ', ' order by 1) from aclexplode(c.relacl) a \
             left join pg_roles r on r.oid = a.grantee), '') \
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "roles",
        sql: "select 'role', r.rolname::text, concat_ws(' ', r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, \
              r.rolreplication, r.rolbypassrls, (select string_agg(g.rolname::text, ',' order by 1) from pg_auth_members m \
              join pg_roles g on g.oid = m.roleid where m.member = r.oid)) from pg_roles r where r.rolname not like 'pg\\_%'",
    },
    Lookup {
        what: "extensions and schemas",
        sql: "select 'extension', extname::text, extversion from pg_extension union all \
              select 'schema', nspname::text, pg_get_userbyid(nspowner)::text from pg_namespace \
              where nspname not in ('pg_catalog', 'information_schema') and nspname not like 'pg\\_t%'",
    },
])];

/// For a comparison with another engine: what both have words for.
pub const NEUTRAL: &[Section] = &[Section::of(&[
    Lookup {
        what: "tables and views",
        sql: concat!(
            "select case c.relkind when 'v' then 'view' else 'table' end, \
             lower(case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname), '' \
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "primary and unique keys",
        sql: concat!(
            "select case when x.indisprimary then 'primary key' else 'unique key' end, \
             lower(case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname || '(' \
             || (select string_agg(a.attname, ',' order by k.at) from unnest(x.indkey::int2[]) with ordinality k(number, at) \
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number) || ')'), '' \
             from pg_index x join pg_class c on c.oid = x.indrelid join pg_namespace n on n.oid = c.relnamespace \
             where x.indisunique and x.indpred is null and x.indexprs is null and x.indisvalid and c.relkind in ('r', 'p') and",
            ours!("c.relname")
        ),
    },
    Lookup {
        what: "foreign keys",
        sql: concat!(
            "select 'foreign key', lower(case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname || '(' \
             || (select string_agg(a.attname, ',' order by u.at) from unnest(k.conkey) with ordinality u(number, at) \
             join pg_attribute a on a.attrelid = c.oid and a.attnum = u.number) || ') -> ' || f.relname || '(' \
             || (select string_agg(a.attname, ',' order by u.at) from unnest(k.confkey) with ordinality u(number, at) \
             join pg_attribute a on a.attrelid = f.oid and a.attnum = u.number) || ')'), \
             case k.confdeltype when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default' else 'no action' end \
             from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class f on f.oid = k.confrelid \
             join pg_namespace n on n.oid = c.relnamespace where k.contype = 'f' and",
            ours!("c.relname")
        ),
    },
])];

/// Counters: their name, the query of the next number, the query of the highest that is there, and whether they count down.
pub const COUNTERS: &str = concat!(
    "select format('%I.%I.%I', n.nspname, c.relname, a.attname), \
     format('select last_value + case when is_called then %s else 0 end from %s', q.seqincrement, q.seqrelid::regclass), \
     format('select %s(%I) from %I.%I', case when q.seqincrement < 0 then 'min' else 'max' end, a.attname, n.nspname, c.relname), \
     case when q.seqincrement < 0 then 'down' else 'up' end \
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
     join pg_sequence q on q.seqrelid = pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname)::regclass \
     where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and",
    ours!("c.relname")
);

/// Sequences that no column owns: the query of what one gives next, and which way it goes; NULL where one may not be read.
pub const POSITIONS: &str = concat!(
    "select format('%I.%I', n.nspname, c.relname), case when has_sequence_privilege(c.oid, 'select') then \
     format('select last_value + case when is_called then %s else 0 end, %L from %I.%I', q.seqincrement, \
     case when q.seqincrement < 0 then 'down' else 'up' end, n.nspname, c.relname) end \
     from pg_sequence q join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace \
     where not exists (select 1 from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass \
     and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')) and",
    ours!("c.relname")
);
