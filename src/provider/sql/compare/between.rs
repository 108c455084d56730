//! What two tables have to be told of each other before they become one question: columns whose values are a server's own,
//! and such as mean more between two servers of one engine than between two engines. Pure.

use super::kind::{Column, Kind, Table, Trait};
use super::wish::Wish;

/// Makes two tables comparable, and says what that leaves out.
pub fn met(wish: &Wish, source: &mut Table, target: &mut Table) -> Vec<String> {
    let mut notes = Vec::new();
    let asked = |name: &str| {
        let named = wish.columns.iter().chain(wish.key.iter()).flatten();
        named.into_iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let own = |table: &Table, other: &Table| -> Vec<String> {
        let counted = |column: &&Column| column.trait_ == Trait::Counted && !asked(&column.name);
        // Where the other side has its bytes they were copied, and can be compared.
        let theirs = |column: &&Column| {
            other
                .column(&column.name)
                .is_none_or(|there| there.trait_ == Trait::Counted)
        };
        let columns = table.columns.iter().filter(counted).filter(theirs);
        columns.map(|column| column.name.clone()).collect()
    };
    let mut left = own(source, target);
    left.extend(own(target, source));
    left.sort();
    left.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    for name in left {
        for table in [&mut *source, &mut *target] {
            table.columns.retain(|column| !column.name.eq_ignore_ascii_case(&name));
            // What is counted by the server tells no rows apart on two of them.
            let counted = |key: &Vec<String>| key.iter().any(|column| column.eq_ignore_ascii_case(&name));
            table.primary &= !table.keys.first().is_some_and(counted);
            table.keys.retain(|key| !counted(key));
        }
        notes.push(format!(
            "{name}: a rowversion is counted by each server for itself, and is not compared"
        ));
    }
    for column in &mut source.columns {
        let at = target
            .columns
            .iter_mut()
            .find(|other| other.name.eq_ignore_ascii_case(&column.name));
        let Some(other) = at else { continue };
        let offset = |column: &Column| column.trait_ == Trait::Offset;
        match (offset(column), offset(other)) {
            // Both have an offset, and it is a part of the value.
            (true, true) => {
                column.kind = Kind::Other;
                other.kind = Kind::Other;
            }
            (true, false) | (false, true) => notes.push(format!(
                "{}: datetimeoffset is compared as an instant; the offset itself is not compared",
                column.name
            )),
            (false, false) => {}
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::kind::TableName;
    use super::*;

    fn table(columns: &[(&str, &str, Kind)], key: &[&str]) -> Table {
        let column = |(name, declared, kind): &(&str, &str, Kind)| Column {
            name: (*name).to_owned(),
            kind: kind.clone(),
            declared: (*declared).to_owned(),
            nullable: false,
            trait_: match *declared {
                "rowversion" => Trait::Counted,
                "datetimeoffset" => Trait::Offset,
                _ => Trait::None,
            },
        };
        Table {
            name: TableName::parse("t"),
            columns: columns.iter().map(column).collect(),
            primary: true,
            keys: vec![key.iter().map(|name| (*name).to_owned()).collect()],
            estimate: None,
        }
    }

    #[test]
    fn what_a_server_counts_for_itself_is_left_out_where_it_was_not_copied() {
        let id = ("id", "int", Kind::Integer);
        let counted = ("Seen", "rowversion", Kind::Binary);
        let wish = Wish::parse("t");
        for (other, left) in [
            (vec![id.clone(), ("seen", "rowversion", Kind::Binary)], true),
            (vec![id.clone()], true),
            (vec![id.clone(), ("seen", "bytea", Kind::Binary)], false),
        ] {
            let mut one = table(&[id.clone(), counted.clone()], &["id"]);
            let mut other = table(&other, &["id"]);
            let notes = met(&wish, &mut one, &mut other);
            assert_eq!(one.columns.len(), if left { 1 } else { 2 });
            assert_eq!(notes.len(), usize::from(left), "{notes:?}");
            let mut asked = wish.clone();
            asked.columns = Some(vec!["seen".to_owned()]);
            let mut one = table(&[id.clone(), counted.clone()], &["id"]);
            assert_eq!(met(&asked, &mut one, &mut other), Vec::<String>::new());
            assert_eq!(one.columns.len(), 2);
        }
        let mut one = table(std::slice::from_ref(&counted), &["Seen"]);
        let mut other = table(std::slice::from_ref(&counted), &["Seen"]);
        met(&wish, &mut one, &mut other);
        assert!(one.keys.is_empty() && other.keys.is_empty() && !one.primary);
    }

    #[test]
    fn an_offset_counts_between_two_that_have_one() {
        let zoned = Kind::DateTime {
            fraction: 7,
            zoned: true,
        };
        let one = || table(&[("at", "datetimeoffset", zoned.clone())], &[]);
        let wish = Wish::parse("t");
        let (mut here, mut there) = (one(), one());
        assert_eq!(met(&wish, &mut here, &mut there), Vec::<String>::new());
        assert!(
            here.columns
                .iter()
                .chain(&there.columns)
                .all(|column| column.kind == Kind::Other)
        );
        let mut there = table(&[("at", "timestamp with time zone", zoned.clone())], &[]);
        let mut here = one();
        assert_eq!(met(&wish, &mut here, &mut there).len(), 1);
        assert!(here.columns.iter().all(|column| column.kind == zoned));
    }
}
