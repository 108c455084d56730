//! Where SQL Server's instance has what a database needs of it: logins, the Agent's jobs, linked servers; and what a
//! database's counters and sequences give next. Owns the texts of its questions only.
//!
//! Source: Microsoft, "System catalog views", "SQL Server Agent tables". Never run against a SQL Server.

use super::inventory::{Lookup, Section, Sight, Told};
use super::sqlserver::{SEQUENCED, bytes};

/// Without it somebody sees the own login and few others.
const INSTANCE: Sight = Sight {
    told: Told::By("select cast(has_perms_by_name(null, null, 'VIEW ANY DEFINITION') as varchar(11))"),
    needs: "VIEW ANY DEFINITION on the server",
};

/// By its SID a database knows a login: another SID under the same name is another login. The accounts of services and the
/// server's own are of the machine.
pub const LOGINS: Section = Section {
    sight: Some(INSTANCE),
    ..Section::of(&[
        Lookup {
            what: "logins, their roles and permissions",
            sql: concat!(
                "select N'login', p.name",
                bytes!(),
                ", p.type_desc + N' ' + convert(nvarchar(200), p.sid, 1) + case p.is_disabled when 1 then N' disabled' else N'' end \
                 + coalesce(N' in ' + p.default_database_name, N'') + coalesce(N' speaks ' + p.default_language_name, N'') \
                 + case l.is_policy_checked when 0 then N' policy off' else N'' end \
                 + case l.is_expiration_checked when 1 then N' expires' else N'' end",
                bytes!(),
                " from sys.server_principals p left join sys.sql_logins l on l.principal_id = p.principal_id \
                 where p.type in ('S', 'U', 'G', 'E', 'X') and p.name not like N'##%' and p.name not like N'NT %\\%' \
                 union all select N'server member', r.name + N' < ' + m.name",
                bytes!(),
                ", N'' from sys.server_role_members x join sys.server_principals r on r.principal_id = x.role_principal_id \
                 join sys.server_principals m on m.principal_id = x.member_principal_id \
                 where m.name not like N'##%' and m.name not like N'NT %\\%' union all select N'server grant', \
                 g.name + N': ' + p.permission_name + case p.class when 100 then N'' when 101 then N' on login ' + suser_name(p.major_id) \
                 else N' on ' + p.class_desc + N' ' + convert(nvarchar(11), p.major_id) end",
                bytes!(),
                ", p.state_desc",
                bytes!(),
                " from sys.server_permissions p join sys.server_principals g on g.principal_id = p.grantee_principal_id \
                 where g.name not like N'##%' and g.name not like N'NT %\\%' \
                 and not (p.class = 105 and g.name = N'public') order by 1, 2, 3"
            ),
        },
        Lookup {
            what: "linked servers",
            sql: concat!(
                "select N'linked server', s.name",
                bytes!(),
                ", coalesce(s.product, N'') + N' ' + coalesce(s.provider, N'') + N' ' + coalesce(s.data_source, N'') + N' ' \
                 + coalesce(s.catalog, N'')",
                bytes!(),
                " from sys.servers s where s.is_linked = 1"
            ),
        },
        Lookup {
            what: "triggers of the server",
            sql: concat!(
                "select N'trigger', N'(server).' + t.name",
                bytes!(),
                ", case t.is_disabled when 1 then N'disabled ' else N'' end + m.definition",
                bytes!(),
                " from sys.server_triggers t left join sys.server_sql_modules m on m.object_id = t.object_id \
                 where t.is_ms_shipped = 0"
            ),
        },
    ])
};

/// The tables themselves show all or nothing; the Agent's views would show somebody the own jobs.
pub const JOBS: Section = Section::of(&[Lookup {
    what: "jobs of the Agent, their steps and schedules",
    sql: concat!(
        "select N'job', j.name",
        bytes!(),
        ", d.words",
        bytes!(),
        " from msdb.dbo.sysjobs j cross apply (select 0 part, 0 number, case j.enabled when 1 then N'enabled' else N'disabled' end \
             + N' of ' + coalesce(suser_sname(j.owner_sid), N'') + N' begins at step ' + convert(nvarchar(11), j.start_step_id)",
        bytes!(),
        " words union all select 1, t.step_id, N'step ' + convert(nvarchar(11), t.step_id) + N' ' + t.step_name + N' ' \
             + t.subsystem + N' in ' + coalesce(t.database_name, N'') + N' as ' + coalesce(t.database_user_name, N'') + N' then ' \
             + convert(nvarchar(11), t.on_success_action) + N':' + convert(nvarchar(11), t.on_success_step_id) + N' else ' \
             + convert(nvarchar(11), t.on_fail_action) + N':' + convert(nvarchar(11), t.on_fail_step_id) + N' again ' \
             + convert(nvarchar(11), t.retry_attempts) + N': ' + coalesce(t.command, N'')",
        bytes!(),
        " from msdb.dbo.sysjobsteps t where t.job_id = j.job_id union all select 2, 0, N'schedule ' + c.name + N' ' \
             + case c.enabled when 1 then N'enabled ' else N'disabled ' end + convert(nvarchar(11), c.freq_type) + N' ' \
             + convert(nvarchar(11), c.freq_interval) + N' ' + convert(nvarchar(11), c.freq_subday_type) + N' ' \
             + convert(nvarchar(11), c.freq_subday_interval) + N' ' + convert(nvarchar(11), c.freq_relative_interval) + N' ' \
             + convert(nvarchar(11), c.freq_recurrence_factor) + N' from ' + convert(nvarchar(11), c.active_start_date) + N' ' \
             + convert(nvarchar(11), c.active_start_time) + N' to ' + convert(nvarchar(11), c.active_end_date) + N' ' \
             + convert(nvarchar(11), c.active_end_time)",
        bytes!(),
        " from msdb.dbo.sysjobschedules x join msdb.dbo.sysschedules c on c.schedule_id = x.schedule_id \
             where x.job_id = j.job_id) d order by j.name, d.part, d.number, d.words"
    ),
}]);

/// What is no counter of the tool's own tables.
macro_rules! ours {
    () => {
        " t.is_ms_shipped = 0 and t.name not like N'pointsman[_]%'"
    };
}

/// Counters: their name, the query of the next number, the query of the highest that is there, and whether they count down.
/// An identity that gave nothing yet gives its seed.
pub const IDENTITIES: &str = concat!(
    "select s.name + N'.' + t.name + N'.' + i.name",
    bytes!(),
    ", N'select ' + convert(nvarchar(40), coalesce(convert(decimal(38, 0), i.last_value) \
     + convert(decimal(38, 0), i.increment_value), convert(decimal(38, 0), i.seed_value)))",
    bytes!(),
    ", N'select convert(nvarchar(40), convert(decimal(38, 0), ' + case when convert(decimal(38, 0), i.increment_value) < 0 \
     then N'min' else N'max' end + N'(' + quotename(i.name) + N'))) from ' + quotename(s.name) + N'.' + quotename(t.name)",
    bytes!(),
    ", case when convert(decimal(38, 0), i.increment_value) < 0 then N'down' else N'up' end \
     from sys.identity_columns i join sys.tables t on t.object_id = i.object_id join sys.schemas s on s.schema_id = t.schema_id \
     where",
    ours!()
);

/// What a sequence gives next. `current_value` is the number given last, or the one to begin with if none was since: only
/// `last_used_value` tells which, and servers before 2017 have none; for them it is the least that it may be.
macro_rules! next {
    () => {
        "case when q.last_used_value is null or q.last_used_value <> q.current_value then convert(decimal(38, 0), q.current_value) \
         else convert(decimal(38, 0), q.last_used_value) + convert(decimal(38, 0), q.increment) end"
    };
}

macro_rules! least {
    () => {
        "case when q.current_value = q.start_value then convert(decimal(38, 0), q.start_value) \
         else convert(decimal(38, 0), q.current_value) + convert(decimal(38, 0), q.increment) end"
    };
}

macro_rules! way {
    () => {
        "case when convert(decimal(38, 0), q.increment) < 0 then N'down' else N'up' end"
    };
}

/// Sequences that give a column its default. Which do is read in its words: what else would tell it, only owners may read.
macro_rules! sequences {
    ($next:expr) => {
        concat!(
            "select s.name + N'.' + t.name + N'.' + c.name + N' (' + q.name + N')'",
            bytes!(),
            ", N'select ' + convert(nvarchar(40), ",
            $next,
            ")",
            bytes!(),
            ", N'select convert(nvarchar(40), convert(decimal(38, 0), ' + case when convert(decimal(38, 0), q.increment) < 0 \
             then N'min' else N'max' end + N'(' + quotename(c.name) + N'))) from ' + quotename(s.name) + N'.' + quotename(t.name)",
            bytes!(),
            ", ",
            way!(),
            " from sys.sequences q join sys.schemas o on o.schema_id = q.schema_id \
             join sys.default_constraints d on charindex(quotename(o.name) + N'.' + quotename(q.name), d.definition) > 0 \
             join sys.tables t on t.object_id = d.parent_object_id \
             join sys.schemas s on s.schema_id = t.schema_id join sys.columns c on c.object_id = d.parent_object_id \
             and c.column_id = d.parent_column_id where",
            ours!()
        )
    };
}

/// Sequences: the query of the number that one gives next, of its way, and of the number that it may give next at most.
macro_rules! positions {
    ($next:expr, $most:expr) => {
        concat!(
            "select s.name + N'.' + q.name",
            bytes!(),
            ", N'select ''' + convert(nvarchar(40), ",
            $next,
            ") + N''', ''' + ",
            way!(),
            " + N''', ''' + convert(nvarchar(40), ",
            $most,
            ") + N''''",
            bytes!(),
            " from sys.sequences q join sys.schemas s on s.schema_id = q.schema_id"
        )
    };
}

const SEQUENCES: &str = sequences!(next!());
const SEQUENCES_BEFORE: &str = sequences!(least!());
const POSITIONS: &str = positions!(next!(), next!());
const POSITIONS_BEFORE: &str = positions!(
    "convert(decimal(38, 0), q.current_value)",
    "convert(decimal(38, 0), q.current_value) + convert(decimal(38, 0), q.increment)"
);

/// Which version a server is.
pub const VERSION: &str = "select parsename(cast(serverproperty('ProductVersion') as nvarchar(128)), 4)";

/// SQL Server 2017 is the first that tells what a sequence gave last.
const TELLS: u32 = 14;

/// The questions for counters that a server of a version has.
pub fn counters(version: u32) -> Vec<&'static str> {
    match version {
        0..SEQUENCED => vec![IDENTITIES],
        SEQUENCED..TELLS => vec![IDENTITIES, SEQUENCES_BEFORE],
        TELLS.. => vec![IDENTITIES, SEQUENCES],
    }
}

/// The question for sequences.
pub const fn positions(version: u32) -> Option<&'static str> {
    match version {
        0..SEQUENCED => None,
        SEQUENCED..TELLS => Some(POSITIONS_BEFORE),
        TELLS.. => Some(POSITIONS),
    }
}
