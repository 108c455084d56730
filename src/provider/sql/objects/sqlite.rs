//! Objects of a SQLite database, as its schema has them.

use super::inventory::{Lookup, Section};

pub const NATIVE: &[Section] = &[Section::of(&[Lookup {
    what: "its schema",
    sql: "select type, name, coalesce(sql, '') from sqlite_schema where name not like 'sqlite\\_%' escape '\\' \
          and name not like 'pointsman\\_%' escape '\\' and name not like 'lab\\_%' escape '\\'",
}])];
