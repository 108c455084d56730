//! What a column holds, in words that every engine shares. Must not know any engine's spelling.

use std::fmt;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    /// `scale` digits after the point; none: as many as each value has.
    Decimal {
        scale: Option<u32>,
    },
    Float {
        single: bool,
    },
    /// `fixed`: padded with spaces by the engine, which are no part of the value.
    Text {
        fixed: bool,
    },
    Binary,
    Date,
    /// `fraction` digits of a second.
    Time {
        fraction: u32,
    },
    /// `zoned`: the engine knows the instant, and gives it in UTC.
    DateTime {
        fraction: u32,
        zoned: bool,
    },
    Uuid,
    Json,
    /// Nothing that is compared but by its text.
    Other,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// As the engine writes its type.
    pub declared: String,
    pub nullable: bool,
    /// What an engine's dialect has to know besides: a character set, zero fill.
    pub trait_: Trait,
}

/// Peculiarities of a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trait {
    #[default]
    None,
    /// Its bytes are not UTF-8 as they lie: the engine converts.
    Converts,
    /// Shown with zeros in front.
    ZeroFill,
    /// A set of bits.
    Bits,
    /// Sixteen bytes that are a UUID, or may be.
    Sixteen,
    /// Longer than the engine joins texts: only its rows are read.
    Long,
    /// The engine has no function that takes it as it is: it is cast to a text first.
    Cast,
    /// The server counts it up for itself, whatever is written (SQL Server's rowversion).
    Counted,
    /// An instant with the offset that it was written in (SQL Server's datetimeoffset).
    Offset,
}

/// A table's name, with its schema where one was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: Option<String>,
    pub name: String,
}

impl TableName {
    /// From `table` or `schema.table`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Self {
                schema: Some(schema.to_owned()),
                name: name.to_owned(),
            },
            Some(_) | None => Self {
                schema: None,
                name: text.to_owned(),
            },
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A table as its engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: TableName,
    pub columns: Vec<Column>,
    /// Whether it has a primary key, which is the first of its keys then.
    pub primary: bool,
    /// Lists of columns that tell its rows apart, each in its order; none where nothing promises it.
    pub keys: Vec<Vec<String>>,
    /// Rows as the engine's statistics have them.
    pub estimate: Option<u64>,
}

impl Table {
    /// A column by its name; where no name is the same, by one that differs in case only.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let same = self.columns.iter().find(|column| column.name == name);
        same.or_else(|| {
            self.columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
        })
    }
}

/// The keys that an engine's catalogue lists column by column, with the index's name before the column's; only those all of
/// whose columns `fit`.
pub fn keys(rows: &[Vec<String>], fit: impl Fn(&[String]) -> bool) -> Vec<Vec<String>> {
    let mut keys: Vec<(&str, bool, Vec<String>)> = Vec::new();
    for row in rows {
        let [index, column, ..] = row.as_slice() else { continue };
        let fits = fit(row);
        match keys.iter_mut().find(|(name, _, _)| name == index) {
            Some((_, whole, columns)) => {
                *whole &= fits;
                columns.push(column.clone());
            }
            None => keys.push((index, fits, vec![column.clone()])),
        }
    }
    let whole = |(_, whole, columns): (&str, bool, Vec<String>)| whole.then_some(columns);
    keys.into_iter().filter_map(whole).collect()
}
