//! What SQL Server has in common with other engines: tables, views and keys in the words of all. Owns the texts of its
//! questions only. Never run against a SQL Server.

use super::inventory::{Lookup, Section};
use super::sqlserver::DATABASE;

/// A name as all engines write it; `dbo` is what has no schema elsewhere.
macro_rules! named {
    ($rest:literal) => {
        concat!(
            "lower(case s.name when N'dbo' then N'' else s.name + N'.' end + t.name) collate Latin1_General_BIN2",
            $rest
        )
    };
}

macro_rules! ours {
    ($rest:literal) => {
        concat!(" t.is_ms_shipped = 0 and t.name not like N'pointsman[_]%'", $rest)
    };
}

/// For a comparison with another engine.
pub const NEUTRAL: &[Section] = &[
    Section {
        sight: Some(DATABASE),
        ..Section::of(&[Lookup {
            what: "tables and views",
            sql: concat!(
                "select case t.type when 'V' then N'view' else N'table' end, ",
                named!(
                    ", N'' from sys.objects t join sys.schemas s on s.schema_id = t.schema_id where t.type in ('U', 'V') and"
                ),
                ours!("")
            ),
        }])
    },
    Section {
        sight: Some(DATABASE),
        keyed: true,
        ..Section::of(&[
            Lookup {
                what: "primary and unique keys",
                sql: concat!(
                    "select case i.is_primary_key when 1 then N'primary key' else N'unique key' end, \
                     convert(nvarchar(11), i.object_id) + N'.' + convert(nvarchar(11), i.index_id), N'', ",
                    named!(", lower(c.name), N'', N'' from sys.indexes i"),
                    " join sys.tables t on t.object_id = i.object_id join sys.schemas s on s.schema_id = t.schema_id \
                     join sys.index_columns x on x.object_id = i.object_id and x.index_id = i.index_id \
                     join sys.columns c on c.object_id = x.object_id and c.column_id = x.column_id \
                     where i.is_unique = 1 and i.has_filter = 0 and i.is_disabled = 0 and i.is_hypothetical = 0 \
                     and x.is_included_column = 0 and x.key_ordinal > 0 and",
                    ours!(" order by i.object_id, i.index_id, x.key_ordinal")
                ),
            },
            Lookup {
                what: "foreign keys",
                sql: concat!(
                    "select N'foreign key', convert(nvarchar(11), f.object_id), \
                     lower(replace(f.delete_referential_action_desc, N'_', N' ')) \
                     + case f.is_disabled when 1 then N' disabled' else N'' end, ",
                    named!(", lower(c.name), lower(r.name), lower(b.name) from sys.foreign_keys f"),
                    " join sys.foreign_key_columns k on k.constraint_object_id = f.object_id \
                     join sys.tables t on t.object_id = f.parent_object_id join sys.schemas s on s.schema_id = t.schema_id \
                     join sys.columns c on c.object_id = k.parent_object_id and c.column_id = k.parent_column_id \
                     join sys.tables r on r.object_id = k.referenced_object_id \
                     join sys.columns b on b.object_id = k.referenced_object_id and b.column_id = k.referenced_column_id where",
                    ours!(" order by f.object_id, k.constraint_column_id")
                ),
            },
        ])
    },
];
