//! Where SQL Server's catalogue has each kind of object of a database. Owns the texts of its questions only; the tool's own
//! tables and what the system ships are left out. A definition that comes in several rows is put together in their order:
//! no server before 2017 can. What it does not show is NULL, and so the whole definition.
//!
//! Source: Microsoft, "System catalog views" and "Metadata visibility configuration". Never run against a SQL Server.

use super::inventory::{Lookup, Section, Sight, Told};

/// Names and words of the server have collations of their own, which do not go together by themselves.
macro_rules! bytes {
    () => {
        " + N'' collate Latin1_General_BIN2"
    };
}
pub(super) use bytes;

macro_rules! index {
    () => {
        "i.type_desc + case i.is_primary_key when 1 then N' primary key' else N'' end \
         + case i.is_unique_constraint when 1 then N' unique key' else N'' end \
         + case i.is_unique when 1 then N' unique' else N'' end + case i.is_disabled when 1 then N' disabled' else N'' end \
         + case i.ignore_dup_key when 1 then N' ignore_dup_key' else N'' end \
         + case i.has_filter when 1 then N' where ' + i.filter_definition else N'' end"
    };
}

/// What a foreign key does.
macro_rules! acts {
    () => {
        "N' on delete ' + f.delete_referential_action_desc + N' on update ' + f.update_referential_action_desc \
         + case f.is_disabled when 1 then N' disabled' else N'' end \
         + case f.is_not_trusted when 1 then N' not trusted' else N'' end \
         + case f.is_not_for_replication when 1 then N' not for replication' else N'' end"
    };
}

/// Where foreign keys are, a row for each of their columns.
macro_rules! foreign {
    () => {
        " from sys.foreign_keys f join sys.foreign_key_columns k on k.constraint_object_id = f.object_id \
         join sys.tables t on t.object_id = f.parent_object_id join sys.schemas s on s.schema_id = t.schema_id \
         join sys.columns c on c.object_id = k.parent_object_id and c.column_id = k.parent_column_id \
         join sys.tables r on r.object_id = k.referenced_object_id join sys.schemas a on a.schema_id = r.schema_id \
         join sys.columns b on b.object_id = k.referenced_object_id and b.column_id = k.referenced_column_id \
         where t.is_ms_shipped = 0 and t.name not like N'pointsman[_]%'"
    };
}

/// A catalogue shows only what somebody may see, and does not say that there is more.
pub const DATABASE: Sight = Sight {
    told: Told::By(
        "select case when has_perms_by_name(quotename(db_name()), 'DATABASE', 'VIEW DEFINITION') = 1 and not exists \
         (select 1 from sys.database_permissions where state = 'D' and permission_name in ('VIEW DEFINITION', 'CONTROL') \
         and (grantee_principal_id in (0, user_id()) or is_member(user_name(grantee_principal_id)) = 1)) then '1' else '0' end",
    ),
    needs: "VIEW DEFINITION on the database, denied for no schema and no object,",
};

const TABLES: Lookup = Lookup {
    what: "tables and columns",
    sql: concat!(
        "select N'column', s.name + N'.' + t.name + N'.' + c.name",
        bytes!(),
        ", case y.is_user_defined when 1 then schema_name(y.schema_id) + N'.' else N'' end + y.name + N'(' \
         + convert(nvarchar(11), c.max_length) + N',' + convert(nvarchar(11), c.precision) + N',' \
         + convert(nvarchar(11), c.scale) + N')' + case c.is_nullable when 1 then N'' else N' not null' end \
         + coalesce(N' collate ' + c.collation_name, N'') \
         + case when i.column_id is null then N'' else N' identity(' + convert(nvarchar(40), i.seed_value) + N',' \
         + convert(nvarchar(40), i.increment_value) + N')' + case i.is_not_for_replication when 1 \
         then N' not for replication' else N'' end end \
         + case when m.column_id is null then N'' else case m.is_persisted when 1 then N' persisted' else N'' end \
         + N' as ' + m.definition end \
         + case when c.default_object_id = 0 then N'' when d.object_id is null then N' default ' \
         + object_name(c.default_object_id) else N' default ' + d.definition end \
         + case c.rule_object_id when 0 then N'' else N' rule ' + object_name(c.rule_object_id) end \
         + case c.xml_collection_id when 0 then N'' else N' xml ' + coalesce((select g.name from sys.xml_schema_collections g \
         where g.xml_collection_id = c.xml_collection_id), N'') end \
         + case c.is_sparse when 1 then N' sparse' else N'' end + case c.is_rowguidcol when 1 then N' rowguidcol' else N'' end",
        bytes!(),
        " from sys.tables t join sys.schemas s on s.schema_id = t.schema_id join sys.columns c on c.object_id = t.object_id \
         join sys.types y on y.user_type_id = c.user_type_id \
         left join sys.default_constraints d on d.object_id = c.default_object_id \
         left join sys.identity_columns i on i.object_id = c.object_id and i.column_id = c.column_id \
         left join sys.computed_columns m on m.object_id = c.object_id and m.column_id = c.column_id \
         where t.is_ms_shipped = 0 and t.name not like N'pointsman[_]%'"
    ),
};

const CAPTURED: Lookup = Lookup {
    what: "tables that change data capture reads",
    sql: concat!(
        "select N'captured table', s.name + N'.' + t.name",
        bytes!(),
        ", N'' from sys.tables t join sys.schemas s on s.schema_id = t.schema_id where t.is_tracked_by_cdc = 1"
    ),
};

const INDEXES: Lookup = Lookup {
    what: "indexes, primary and unique keys",
    sql: concat!(
        "select N'index', s.name + N'.' + o.name + N'.' + i.name",
        bytes!(),
        ", ",
        index!(),
        " + coalesce(N': ' + c.name + case x.is_descending_key when 1 then N' desc' else N'' end \
         + case x.is_included_column when 1 then N' included' else N'' end, N'')",
        bytes!(),
        " from sys.indexes i join sys.objects o on o.object_id = i.object_id join sys.schemas s on s.schema_id = o.schema_id \
         left join sys.index_columns x on x.object_id = i.object_id and x.index_id = i.index_id \
         left join sys.columns c on c.object_id = x.object_id and c.column_id = x.column_id \
         where i.type > 0 and i.is_hypothetical = 0 and o.type in ('U', 'V') and o.is_ms_shipped = 0 \
         and o.name not like N'pointsman[_]%' and not exists (select 1 from sys.key_constraints k \
         where k.parent_object_id = i.object_id and k.unique_index_id = i.index_id and k.is_system_named = 1) \
         order by i.object_id, i.index_id, x.is_included_column, x.key_ordinal, c.name"
    ),
};

/// A key that the server named itself has another name on every server: its table and its columns are its name.
const UNNAMED_KEYS: Lookup = Lookup {
    what: "primary and unique keys without a name of their own",
    sql: concat!(
        "select case i.is_primary_key when 1 then N'primary key' else N'unique key' end, \
         convert(nvarchar(11), i.object_id) + N'.' + convert(nvarchar(11), i.index_id), ",
        index!(),
        bytes!(),
        ", s.name + N'.' + o.name",
        bytes!(),
        ", c.name + case x.is_descending_key when 1 then N' desc' else N'' end",
        bytes!(),
        ", N'', N'' from sys.indexes i join sys.objects o on o.object_id = i.object_id \
         join sys.schemas s on s.schema_id = o.schema_id \
         join sys.key_constraints k on k.parent_object_id = i.object_id and k.unique_index_id = i.index_id \
         join sys.index_columns x on x.object_id = i.object_id and x.index_id = i.index_id \
         join sys.columns c on c.object_id = x.object_id and c.column_id = x.column_id \
         where k.is_system_named = 1 and x.key_ordinal > 0 and o.is_ms_shipped = 0 and o.name not like N'pointsman[_]%' \
         order by i.object_id, i.index_id, x.key_ordinal"
    ),
};

const FOREIGN_KEYS: Lookup = Lookup {
    what: "foreign keys",
    sql: concat!(
        "select N'foreign key', s.name + N'.' + t.name + N'.' + f.name",
        bytes!(),
        ", c.name + N' -> ' + a.name + N'.' + r.name + N'.' + b.name + ",
        acts!(),
        bytes!(),
        foreign!(),
        " and f.is_system_named = 0 order by f.object_id, c.name, b.name"
    ),
};

const UNNAMED_FOREIGN_KEYS: Lookup = Lookup {
    what: "foreign keys without a name of their own",
    sql: concat!(
        "select N'foreign key', convert(nvarchar(11), f.object_id), ",
        acts!(),
        bytes!(),
        ", s.name + N'.' + t.name",
        bytes!(),
        ", c.name, a.name + N'.' + r.name",
        bytes!(),
        ", b.name",
        foreign!(),
        " and f.is_system_named = 1 order by f.object_id, k.constraint_column_id"
    ),
};

const CHECKS: Lookup = Lookup {
    what: "check constraints",
    sql: concat!(
        "select N'check', s.name + N'.' + o.name + N'.' + case k.is_system_named when 1 then k.definition else k.name end",
        bytes!(),
        ", k.definition + case k.is_disabled when 1 then N' disabled' else N'' end \
         + case k.is_not_trusted when 1 then N' not trusted' else N'' end",
        bytes!(),
        " from sys.check_constraints k join sys.objects o on o.object_id = k.parent_object_id \
         join sys.schemas s on s.schema_id = o.schema_id where k.is_ms_shipped = 0 and o.name not like N'pointsman[_]%'"
    ),
};

/// Who they execute as is their definer.
const MODULES: Lookup = Lookup {
    what: "views, routines and triggers",
    sql: concat!(
        "select case when o.type = 'V' then N'view' when o.type = 'TR' then N'trigger' when o.type = 'D' then N'default' \
         when o.type = 'R' then N'rule' else N'routine' end, \
         s.name + N'.' + case when o.type = 'TR' then p.name + N'.' else N'' end + o.name",
        bytes!(),
        ", N'as ' + case when m.execute_as_principal_id is null then N'caller' when m.execute_as_principal_id = -2 \
         then N'owner' else user_name(m.execute_as_principal_id) end \
         + case m.uses_ansi_nulls when 1 then N'' else N' ansi_nulls off' end \
         + case m.uses_quoted_identifier when 1 then N'' else N' quoted_identifier off' end \
         + case t.is_disabled when 1 then N' disabled' else N'' end \
         + case t.is_not_for_replication when 1 then N' not for replication' else N'' end + N' ' + m.definition",
        bytes!(),
        " from sys.sql_modules m join sys.objects o on o.object_id = m.object_id join sys.schemas s on s.schema_id = o.schema_id \
         left join sys.objects p on p.object_id = o.parent_object_id left join sys.triggers t on t.object_id = o.object_id \
         where o.is_ms_shipped = 0 and o.name not like N'pointsman[_]%' and (o.type <> 'D' or o.parent_object_id = 0)"
    ),
};

const DDL_TRIGGERS: Lookup = Lookup {
    what: "triggers of the database",
    sql: concat!(
        "select N'trigger', N'(database).' + t.name",
        bytes!(),
        ", N'as ' + case when m.execute_as_principal_id is null then N'caller' when m.execute_as_principal_id = -2 \
         then N'owner' else user_name(m.execute_as_principal_id) end \
         + case t.is_disabled when 1 then N' disabled ' else N' ' end + m.definition",
        bytes!(),
        " from sys.triggers t left join sys.sql_modules m on m.object_id = t.object_id \
         where t.parent_class = 0 and t.is_ms_shipped = 0"
    ),
};

const ASSEMBLIES: Lookup = Lookup {
    what: "assemblies and what is made of them",
    sql: concat!(
        "select N'assembly', a.name",
        bytes!(),
        ", coalesce(a.clr_name, N'') + N' ' + a.permission_set_desc",
        bytes!(),
        " from sys.assemblies a where a.is_user_defined = 1 union all select N'routine', s.name + N'.' + o.name",
        bytes!(),
        ", a.name + N'.' + coalesce(m.assembly_class, N'') + N'.' + coalesce(m.assembly_method, N'')",
        bytes!(),
        " from sys.assembly_modules m join sys.objects o on o.object_id = m.object_id \
         join sys.schemas s on s.schema_id = o.schema_id join sys.assemblies a on a.assembly_id = m.assembly_id \
         where o.is_ms_shipped = 0"
    ),
};

const SYNONYMS: Lookup = Lookup {
    what: "synonyms, types and schemas",
    sql: concat!(
        "select N'synonym', s.name + N'.' + y.name",
        bytes!(),
        ", y.base_object_name",
        bytes!(),
        " from sys.synonyms y join sys.schemas s on s.schema_id = y.schema_id union all \
         select N'type', s.name + N'.' + y.name",
        bytes!(),
        ", coalesce(type_name(y.system_type_id), N'table') + N'(' + convert(nvarchar(11), y.max_length) + N',' \
         + convert(nvarchar(11), y.precision) + N',' + convert(nvarchar(11), y.scale) + N')' \
         + case y.is_nullable when 1 then N'' else N' not null' end",
        bytes!(),
        " from sys.types y join sys.schemas s on s.schema_id = y.schema_id where y.is_user_defined = 1 union all \
         select N'schema', s.name",
        bytes!(),
        ", user_name(s.principal_id)",
        bytes!(),
        " from sys.schemas s where s.schema_id between 5 and 16383 or s.schema_id = 1"
    ),
};

const TABLE_TYPES: Lookup = Lookup {
    what: "columns of table types",
    sql: concat!(
        "select N'type', s.name + N'.' + t.name",
        bytes!(),
        ", c.name + N' ' + y.name + N'(' + convert(nvarchar(11), c.max_length) + N',' + convert(nvarchar(11), c.precision) \
         + N',' + convert(nvarchar(11), c.scale) + N')' + case c.is_nullable when 1 then N'' else N' not null' end",
        bytes!(),
        " from sys.table_types t join sys.schemas s on s.schema_id = t.schema_id \
         join sys.columns c on c.object_id = t.type_table_object_id join sys.types y on y.user_type_id = c.user_type_id \
         order by t.user_type_id, c.column_id"
    ),
};

/// A user is worth what its login is: of one that has none on its server, that name is empty.
const USERS: Lookup = Lookup {
    what: "users, roles and their members",
    sql: concat!(
        "select case when p.type in ('R', 'A') then N'role' else N'user' end, p.name",
        bytes!(),
        ", p.type_desc + N' ' + coalesce(p.default_schema_name, N'') + N' ' \
         + case when p.type in ('R', 'A') then coalesce(user_name(p.owning_principal_id), N'') \
         else N'login ' + coalesce(suser_sname(p.sid), N'') end",
        bytes!(),
        " from sys.database_principals p where p.is_fixed_role = 0 \
         and p.name not in (N'dbo', N'guest', N'sys', N'INFORMATION_SCHEMA', N'public') and p.name not like N'##%' \
         union all select N'member', r.name + N' < ' + m.name",
        bytes!(),
        ", N'' from sys.database_role_members x join sys.database_principals r on r.principal_id = x.role_principal_id \
         join sys.database_principals m on m.principal_id = x.member_principal_id"
    ),
};

const GRANTS: Lookup = Lookup {
    what: "grants and denials",
    sql: concat!(
        "select N'grant', g.name + N': ' + p.permission_name + case p.class when 0 then N'' when 1 then N' on ' \
         + object_schema_name(p.major_id) + N'.' + object_name(p.major_id) + coalesce(N'.' + col_name(p.major_id, p.minor_id), N'') \
         when 3 then N' on schema ' + schema_name(p.major_id) when 4 then N' on principal ' + user_name(p.major_id) \
         when 6 then N' on type ' + type_name(p.major_id) \
         else N' on ' + p.class_desc + N' ' + convert(nvarchar(11), p.major_id) end",
        bytes!(),
        ", p.state_desc",
        bytes!(),
        " from sys.database_permissions p join sys.database_principals g on g.principal_id = p.grantee_principal_id \
         where p.major_id >= 0 and not (p.class = 1 and coalesce(object_name(p.major_id), N'') like N'pointsman[_]%') \
         order by p.state_desc"
    ),
};

/// What makes the same statement mean something else.
const OPTIONS: Lookup = Lookup {
    what: "options of the database",
    sql: concat!(
        "select N'option', o.name",
        bytes!(),
        ", o.value",
        bytes!(),
        " from sys.databases d cross apply (select N'collation' name, convert(nvarchar(256), d.collation_name) \
         collate Latin1_General_BIN2 value \
         union all select N'compatibility level', convert(nvarchar(11), d.compatibility_level) \
         union all select N'owner', convert(nvarchar(256), coalesce(suser_sname(d.owner_sid), N'')) \
         collate Latin1_General_BIN2 \
         union all select N'read committed snapshot', convert(nvarchar(11), d.is_read_committed_snapshot_on) \
         union all select N'snapshot isolation', convert(nvarchar(256), d.snapshot_isolation_state_desc) \
         collate Latin1_General_BIN2 \
         union all select N'ansi_nulls', convert(nvarchar(11), d.is_ansi_nulls_on) \
         union all select N'ansi_padding', convert(nvarchar(11), d.is_ansi_padding_on) \
         union all select N'quoted_identifier', convert(nvarchar(11), d.is_quoted_identifier_on) \
         union all select N'ansi_warnings', convert(nvarchar(11), d.is_ansi_warnings_on) \
         union all select N'ansi_null_default', convert(nvarchar(11), d.is_ansi_null_default_on) \
         union all select N'arithabort', convert(nvarchar(11), d.is_arithabort_on) \
         union all select N'concat_null_yields_null', convert(nvarchar(11), d.is_concat_null_yields_null_on) \
         union all select N'numeric_roundabort', convert(nvarchar(11), d.is_numeric_roundabort_on) \
         union all select N'recursive triggers', convert(nvarchar(11), d.is_recursive_triggers_on) \
         union all select N'trustworthy', convert(nvarchar(11), d.is_trustworthy_on) \
         union all select N'ownership chaining', convert(nvarchar(11), d.is_db_chaining_on) \
         union all select N'broker', convert(nvarchar(11), d.is_broker_enabled) \
         union all select N'change data capture', convert(nvarchar(11), d.is_cdc_enabled)) o where d.database_id = db_id()"
    ),
};

/// Where one begins changes with every restart.
const SEQUENCES: Lookup = Lookup {
    what: "sequences",
    sql: concat!(
        "select N'sequence', s.name + N'.' + q.name",
        bytes!(),
        ", type_name(q.user_type_id) + N' by ' \
         + convert(nvarchar(40), q.increment) + N' from ' + convert(nvarchar(40), q.minimum_value) + N' to ' \
         + convert(nvarchar(40), q.maximum_value) + case q.is_cycling when 1 then N' cycle' else N'' end",
        bytes!(),
        " from sys.sequences q join sys.schemas s on s.schema_id = q.schema_id"
    ),
};

/// For a comparison with another SQL Server.
pub const NATIVE: &[Section] = &[
    Section {
        sight: Some(DATABASE),
        ..Section::of(&[
            TABLES,
            CAPTURED,
            INDEXES,
            FOREIGN_KEYS,
            CHECKS,
            MODULES,
            DDL_TRIGGERS,
            ASSEMBLIES,
            SYNONYMS,
            TABLE_TYPES,
            USERS,
            GRANTS,
            OPTIONS,
        ])
    },
    Section {
        sight: Some(DATABASE),
        keyed: true,
        ..Section::of(&[UNNAMED_KEYS, UNNAMED_FOREIGN_KEYS])
    },
    Section {
        since: SEQUENCED,
        sight: Some(DATABASE),
        ..Section::of(&[SEQUENCES])
    },
    super::sqlserver_instance::LOGINS,
    super::sqlserver_instance::JOBS,
];

/// SQL Server 2012 is the first with sequences.
pub const SEQUENCED: u32 = 11;

/// What has no lookup here.
pub const NOT_COMPARED: &[&str] = &[
    "passwords of logins",
    "order of columns and of triggers",
    "filegroups, partitions, compression, fill factors and lock options",
    "statistics",
    "full-text catalogues",
    "memory-optimized tables' durability, column masks and encryption, row security, temporal periods",
    "contents of XML schema collections",
    "Service Broker's queues and routes",
    "extended properties",
    "bytes of assemblies",
    "containment and scoped configurations of the database",
    "login mappings and options of linked servers",
    "alerts, operators and proxies of the Agent",
];
