//! Where MySQL and MariaDB have each kind of object. Owns the texts of its questions only; the tool's own tables are left
//! out.

use super::inventory::{Lookup, Section, Sight, Told};

const fn on_schema(privilege: &'static [&'static str], needs: &'static str) -> Sight {
    Sight {
        told: Told::Schema(privilege),
        needs,
    }
}

const SELECTS: Sight = on_schema(&["SELECT"], "SELECT on the whole schema");
const TRIGGERS: Sight = on_schema(&["TRIGGER"], "TRIGGER on the whole schema");
const VIEWS: Sight = on_schema(&["SHOW VIEW"], "SHOW VIEW on the whole schema");
const EVENTS: Sight = on_schema(&["EVENT"], "EVENT on the whole schema");
/// MySQL 8.4, section 28.3.30; MariaDB, "Information Schema ROUTINES Table".
const ROUTINES: Sight = Sight {
    told: Told::Everywhere(&["SELECT", "SHOW_ROUTINE"], "`mysql`.`proc`"),
    needs: "SELECT everywhere, or on mysql.proc, or SHOW_ROUTINE",
};

/// Others' grants are shown to who may read the schema that keeps them.
const USERS: Sight = Sight {
    told: Told::Everywhere(&["SELECT"], "`mysql`.*"),
    needs: "SELECT on the schema mysql",
};

/// What has no lookup here.
pub const NOT_COMPARED: &[&str] = &[
    "grants on everything, on tables and on routines",
    "increments, bounds and caches of sequences",
    "partitions and comments",
    "settings of the server",
];

/// For a comparison with another MySQL or MariaDB.
pub const NATIVE: &[Section] = &[
    Section {
        sight: Some(SELECTS),
        ..Section::of(&[
            Lookup {
                what: "tables and columns",
                sql: "select 'column', concat(c.table_name, '.', c.column_name), concat_ws(' ', c.column_type, c.is_nullable, \
              c.column_default, c.extra, c.collation_name) from information_schema.columns c join information_schema.tables t \
              on t.table_schema = c.table_schema and t.table_name = c.table_name and t.table_type = 'BASE TABLE' \
              where c.table_schema = database() and c.table_name not like 'pointsman\\_%' \
              union all select if(table_type = 'SEQUENCE', 'sequence', 'table'), table_name, concat_ws(' ', engine, table_collation) from information_schema.tables \
              where table_schema = database() and table_type in ('BASE TABLE', 'SEQUENCE') and table_name not like 'pointsman\\_%'",
            },
            Lookup {
                what: "indexes",
                sql: "select 'index', concat(table_name, '.', index_name), concat_ws(' ', min(non_unique), min(index_type), \
              group_concat(concat_ws(':', column_name, sub_part, collation) order by seq_in_index)) \
              from information_schema.statistics where table_schema = database() and table_name not like 'pointsman\\_%' \
              group by table_name, index_name",
            },
            Lookup {
                what: "foreign keys",
                sql: "select 'foreign key', concat(k.table_name, '.', k.constraint_name), concat(group_concat(k.column_name \
              order by k.ordinal_position), ' -> ', min(k.referenced_table_name), '(', group_concat(k.referenced_column_name \
              order by k.ordinal_position), ') ', min(r.update_rule), ' ', min(r.delete_rule)) \
              from information_schema.key_column_usage k join information_schema.referential_constraints r \
              on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name \
              and r.table_name = k.table_name where k.table_schema = database() and k.referenced_table_name is not null \
              group by k.table_name, k.constraint_name",
            },
            Lookup {
                what: "check constraints",
                sql: "select 'check', concat(t.table_name, '.', c.constraint_name), c.check_clause \
              from information_schema.check_constraints c join information_schema.table_constraints t \
              on t.constraint_schema = c.constraint_schema and t.constraint_name = c.constraint_name \
              and t.constraint_type = 'CHECK' where c.constraint_schema = database()",
            },
        ])
    },
    Section {
        sight: Some(TRIGGERS),
        ..Section::of(&[Lookup {
            what: "triggers",
            sql: "select 'trigger', trigger_name, concat_ws(' ', action_timing, event_manipulation, event_object_table, definer, \
              action_order, action_statement) from information_schema.triggers where trigger_schema = database()",
        }])
    },
    Section {
        sight: Some(VIEWS),
        ..Section::of(&[Lookup {
            what: "views",
            sql: "select 'view', table_name, concat(concat_ws(' ', definer, security_type, check_option), ' ', \
              nullif(replace(view_definition, concat('`', database(), '`.'), ''), '')) from information_schema.views where table_schema = database()",
        }])
    },
    Section {
        sight: Some(EVENTS),
        ..Section::of(&[Lookup {
            what: "events",
            sql: "select 'event', event_name, concat_ws(' ', definer, status, event_type, execute_at, interval_value, interval_field, \
              event_definition) from information_schema.events where event_schema = database()",
        }])
    },
    Section {
        sight: Some(ROUTINES),
        ..Section::of(&[Lookup {
            what: "routines",
            sql: "select 'routine', concat(lower(r.routine_type), ' ', r.routine_name), concat(concat_ws(' ', r.definer, r.security_type, \
              r.dtd_identifier, (select group_concat(concat_ws(' ', p.parameter_mode, p.parameter_name, p.dtd_identifier) \
              order by p.ordinal_position) from information_schema.parameters p where p.specific_schema = r.routine_schema \
              and p.specific_name = r.specific_name)), ' ', r.routine_definition) from information_schema.routines r \
              where r.routine_schema = database()",
        }])
    },
    Section {
        sight: Some(USERS),
        ..Section::of(&[Lookup {
            what: "users and grants",
            sql: "select 'user', concat(user, '@', host), '' from mysql.user union all \
              select 'grant', grantee, concat_ws(' ', group_concat(concat(privilege_type, is_grantable) order by privilege_type)) \
              from information_schema.schema_privileges where table_schema = database() group by grantee",
        }])
    },
];

/// For a comparison with another engine: what both have words for.
pub const NEUTRAL: &[Section] = &[Section {
    sight: Some(SELECTS),
    ..Section::of(&[
        Lookup {
            what: "tables and views",
            sql: "select if(table_type = 'VIEW', 'view', 'table'), lower(table_name), '' from information_schema.tables \
              where table_schema = database() and table_type in ('BASE TABLE', 'VIEW') and table_name not like 'pointsman\\_%'",
        },
        Lookup {
            what: "primary and unique keys",
            sql: "select if(index_name = 'PRIMARY', 'primary key', 'unique key'), lower(concat(table_name, '(', \
              group_concat(column_name order by seq_in_index), ')')), '' from information_schema.statistics \
              where table_schema = database() and non_unique = 0 and table_name not like 'pointsman\\_%' \
              group by table_name, index_name",
        },
        Lookup {
            what: "foreign keys",
            sql: "select 'foreign key', lower(concat(k.table_name, '(', group_concat(k.column_name order by k.ordinal_position), \
              ') -> ', min(k.referenced_table_name), '(', group_concat(k.referenced_column_name order by k.ordinal_position), \
              ')')), lower(replace(min(r.delete_rule), 'RESTRICT', 'NO ACTION')) from information_schema.key_column_usage k \
              join information_schema.referential_constraints r on r.constraint_schema = k.constraint_schema \
              and r.constraint_name = k.constraint_name and r.table_name = k.table_name where k.table_schema = database() \
              and k.referenced_table_name is not null group by k.table_name, k.constraint_name",
        },
    ])
}];

/// Counters: their name, the query of the next number, the query of the highest that is there.
pub const COUNTERS: &str = "select concat(c.table_name, '.', c.column_name), concat('select ', coalesce(t.auto_increment, 1)), \
     concat('select max(`', replace(c.column_name, '`', '``'), '`) from `', replace(c.table_name, '`', '``'), '`') \
     from information_schema.columns c join information_schema.tables t on t.table_schema = c.table_schema \
     and t.table_name = c.table_name where c.table_schema = database() and c.extra like '%auto_increment%' \
     and c.table_name not like 'pointsman\\_%'";

/// MariaDB's sequences: the query of where one stands, and which way it goes.
pub const POSITIONS: &str = "select table_name, concat('select next_not_cached_value, if(increment < 0, ''down'', ''up'') from `', \
     replace(table_name, '`', '``'), '`') from information_schema.tables \
     where table_schema = database() and table_type = 'SEQUENCE' and table_name not like 'pointsman\\_%'";

/// Whether grants, as SHOW GRANTS writes them, show all. It tells those of the roles that somebody is in on MariaDB; on MySQL
/// only their names, so that a role's grant is none here.
pub fn shows(told: Told, grants: &[String], schema: &str) -> bool {
    // MySQL's partial revokes take a schema out of a grant on all of them.
    if grants.iter().any(|line| line.starts_with("REVOKE ")) {
        return false;
    }
    grants.iter().any(|line| {
        let rest = line.strip_prefix("GRANT ").unwrap_or_default();
        let Some((privileges, rest)) = rest.split_once(" ON ") else {
            return false;
        };
        let Some((place, _)) = rest.split_once(" TO ") else {
            return false;
        };
        let has = |any: &[&str]| {
            let mut all = privileges.split(", ");
            all.any(|has| has == "ALL PRIVILEGES" || any.contains(&has))
        };
        match told {
            Told::By(_) => false,
            Told::Schema(any) => has(any) && (place == "*.*" || names(place, schema)),
            Told::Everywhere(any, table) => {
                let kept = place == table || !table.is_empty() && place == "`mysql`.*";
                has(any) && place == "*.*" || has(&["SELECT"]) && kept
            }
        }
    })
}

/// Whether a place of a grant, whose schema is a pattern of LIKE, is exactly this schema.
fn names(place: &str, schema: &str) -> bool {
    let Some(quoted) = place.strip_suffix(".*") else {
        return false;
    };
    let inner = quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    inner.is_some_and(|pattern| pattern.replace("``", "`").replace("\\_", "_").replace("\\%", "%") == schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_where_they_stand() {
        let schema = Told::Schema(&["TRIGGER"]);
        let routines = Told::Everywhere(&["SELECT", "SHOW_ROUTINE"], "`mysql`.`proc`");
        for (told, line, shows_all) in [
            (schema, "GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION", true),
            (schema, "GRANT SELECT, TRIGGER ON *.* TO `u`@`%`", true),
            (schema, "GRANT TRIGGER ON `erp\\_1`.* TO `u`@`%`", true),
            (schema, "GRANT ALL PRIVILEGES ON `erp_1`.* TO `role`", true),
            (schema, "GRANT TRIGGER ON `erp_2`.* TO `u`@`%`", false),
            (schema, "GRANT TRIGGER ON `erp_1`.`t` TO `u`@`%`", false),
            (schema, "GRANT SELECT ON *.* TO `u`@`%`", false),
            (schema, "GRANT `TRIGGER` TO `u`@`%`", false),
            (routines, "GRANT ALL PRIVILEGES ON `erp_1`.* TO `u`@`%`", false),
            (routines, "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`", true),
            (routines, "GRANT SELECT ON `mysql`.`proc` TO `role`", true),
            (routines, "GRANT SELECT ON `mysql`.* TO `role`", true),
            (routines, "GRANT SELECT (`name`) ON `mysql`.`proc` TO `role`", false),
            (routines, "GRANT USAGE ON *.* TO `u`@`%`", false),
        ] {
            assert_eq!(shows(told, &[line.to_owned()], "erp_1"), shows_all, "{line}");
        }
        let revoked = [
            "GRANT TRIGGER ON *.* TO `u`@`%`",
            "REVOKE TRIGGER ON `erp_1`.* FROM `u`@`%`",
        ];
        assert!(!shows(schema, &revoked.map(str::to_owned), "erp_1"));
    }
}
