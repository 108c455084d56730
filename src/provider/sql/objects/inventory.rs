//! Objects of a database as kind, name and definition, and how two such lists differ. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// So many names of each sort are kept in a result; all are counted.
const KEPT: usize = 200;

/// What is looked up: rows of kind, name and definition.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// What it looks for, for people.
    pub what: &'static str,
    pub sql: &'static str,
}

/// Whether somebody sees all that there is: a catalogue that leaves out what one may not see does not say so.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    pub told: Told,
    /// What is needed for it, for people.
    pub needs: &'static str,
}

/// How a server tells whether somebody sees all.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// By a query that gives 1.
    By(&'static str),
    /// By its list of grants (MySQL, MariaDB): one of these privileges on the schema or on all of them.
    Schema(&'static [&'static str]),
    /// One of these privileges on all schemas, or SELECT on a table.
    Everywhere(&'static [&'static str], &'static str),
}

/// Lookups that are allowed and known together.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The first version of a server that has such objects.
    pub since: u32,
    pub sight: Option<Sight>,
    /// Rows are columns of keys: kind, the key's own number, definition, table, column, and of a foreign key the table and
    /// the column that it refers to. Their name is made of all of them.
    pub keyed: bool,
    pub lookups: &'static [Lookup],
}

impl Section {
    /// What any version has, and anybody sees.
    pub const fn of(lookups: &'static [Lookup]) -> Self {
        Self {
            since: 0,
            sight: None,
            keyed: false,
            lookups,
        }
    }
}

/// What a sequence gives next, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub next: i128,
    /// The furthest that it may be: some servers do not tell it exactly.
    pub most: i128,
    pub down: bool,
}

impl Position {
    /// Where its server tells it exactly.
    pub const fn exact(next: i128, down: bool) -> Self {
        Self { next, most: next, down }
    }

    /// Whether it may give what comes before a number.
    pub const fn before(self, number: i128) -> bool {
        if self.down {
            self.next > number
        } else {
            self.next < number
        }
    }

    /// Whether it gives what comes before a number for sure.
    const fn surely_before(self, number: i128) -> bool {
        if self.down {
            self.most > number
        } else {
            self.most < number
        }
    }
}

/// The objects of one side.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// A definition in several rows is put together as they come.
    pub objects: BTreeMap<(String, String), String>,
    /// Sequences by name, as they stand.
    pub positions: BTreeMap<String, Position>,
    /// Counters that would give out what is there already.
    pub behind: Vec<String>,
    /// What could not be looked up, and why.
    pub unseen: Vec<Unseen>,
}

/// What could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    pub what: String,
    pub why: String,
}

impl Inventory {
    /// A row of kind, name and definition. What the server keeps to itself is unseen.
    pub fn object(&mut self, what: &str, [kind, name, definition]: [Option<String>; 3]) {
        let (Some(kind), Some(name)) = (kind, name) else {
            return self.hidden(what, "the server does not tell the name of one");
        };
        let Some(definition) = definition else {
            let what = format!("{kind} {name}");
            return self.hidden(
                &what,
                "the server does not tell its definition: it is encrypted, or not for this user",
            );
        };
        let known = self.objects.entry((kind, name)).or_default();
        if !known.is_empty() {
            known.push('\n');
        }
        known.push_str(&definition);
    }

    /// Rows of keys, each in the order of its columns.
    pub fn keys(&mut self, what: &str, rows: Vec<Vec<Option<String>>>) {
        struct Key {
            kind: String,
            definition: String,
            table: String,
            columns: Vec<String>,
            to: String,
            others: Vec<String>,
        }
        let mut keys: BTreeMap<(String, String), Key> = BTreeMap::new();
        for row in rows {
            let Some(cells) = row.into_iter().collect::<Option<Vec<String>>>() else {
                self.hidden(what, "the server does not tell all of one");
                continue;
            };
            let Ok([kind, id, definition, table, column, to, other]) = <[String; 7]>::try_from(cells) else {
                self.hidden(what, "a row of another shape came");
                continue;
            };
            let key = keys.entry((kind.clone(), id)).or_insert_with(|| Key {
                kind,
                definition,
                table,
                columns: Vec::new(),
                to,
                others: Vec::new(),
            });
            key.columns.push(column);
            key.others.push(other);
        }
        for key in keys.into_values() {
            let to = match key.to.is_empty() {
                true => String::new(),
                false => format!(" -> {}({})", key.to, key.others.join(",")),
            };
            let name = format!("{}({}){to}", key.table, key.columns.join(","));
            self.object(what, [Some(key.kind), Some(name), Some(key.definition)]);
        }
    }

    /// What was not seen, once.
    pub fn hidden(&mut self, what: &str, why: &str) {
        let unseen = Unseen {
            what: what.to_owned(),
            why: why.to_owned(),
        };
        if !self.unseen.contains(&unseen) {
            self.unseen.push(unseen);
        }
    }
}

/// How two sides differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub missing: Vec<String>,
    pub extra: Vec<String>,
    pub different: Vec<String>,
    pub behind: Vec<String>,
    pub unseen: Vec<String>,
    pub objects: usize,
}

/// Whether a name is like a pattern, where `*` stands for anything.
fn like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut rest = rest;
    let others: Vec<&str> = parts.collect();
    let Some((last, middle)) = others.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Compares; what is like one of `ignore` counts for nothing.
pub fn differences(source: &Inventory, target: &Inventory, ignore: &[String]) -> Differences {
    let counts = |name: &str| !ignore.iter().any(|pattern| like(name, pattern));
    let named = |(kind, name): &(String, String)| format!("{kind} {name}");
    let mut found = Differences::default();
    for (key, definition) in &source.objects {
        let name = named(key);
        if !counts(&name) {
            continue;
        }
        found.objects += 1;
        match target.objects.get(key) {
            None => found.missing.push(name),
            Some(other) if other != definition => found.different.push(name),
            Some(_) => {}
        }
    }
    let extra = target.objects.keys().filter(|key| !source.objects.contains_key(*key));
    found.extra = extra.map(named).filter(|name| counts(name)).collect();
    found.behind = target.behind.iter().filter(|name| counts(name)).cloned().collect();
    for (name, there) in &target.positions {
        let Some(here) = source.positions.get(name).filter(|here| there.before(here.most)) else {
            continue;
        };
        if !counts(&format!("sequence {name}")) {
            continue;
        }
        if there.surely_before(here.next) {
            found.behind.push(format!(
                "sequence {name} gives {}, and {} on the source",
                there.next, here.next
            ));
        } else {
            found.unseen.push(format!(
                "sequence {name} on either side (a server before 2017 does not tell whether it gave {} already; restart the \
                 target's beyond the source's)",
                there.next
            ));
        }
    }
    let sides = [("source", &source.unseen), ("target", &target.unseen)];
    for (side, unseen) in sides {
        let unseen = unseen.iter().filter(|unseen| counts(&unseen.what));
        found
            .unseen
            .extend(unseen.map(|unseen| format!("{} on the {side} ({})", unseen.what, unseen.why)));
    }
    found
}

impl Differences {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.missing.len() + self.extra.len() + self.different.len() + self.behind.len()
    }

    /// The object that predicates and outputs see.
    pub fn result(&self, not_compared: &[&str]) -> Map<String, Value> {
        let some = |names: &[String]| json!(names.iter().take(KEPT).collect::<Vec<_>>());
        Map::from_iter([
            ("differences".to_owned(), json!(self.count())),
            ("missing".to_owned(), some(&self.missing)),
            ("extra".to_owned(), some(&self.extra)),
            ("different".to_owned(), some(&self.different)),
            ("behind".to_owned(), some(&self.behind)),
            ("unseen".to_owned(), some(&self.unseen)),
            ("not_compared".to_owned(), json!(not_compared)),
            ("objects".to_owned(), json!(self.objects)),
        ])
    }

    /// One line for people.
    pub fn words(&self) -> String {
        let mut words = vec![format!("{} objects, {} differences", self.objects, self.count())];
        for (sort, names) in [
            ("missing on the target", &self.missing),
            ("only on the target", &self.extra),
            ("different", &self.different),
            ("counters behind", &self.behind),
            ("not seen", &self.unseen),
        ] {
            if !names.is_empty() {
                let first: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
                let more = if names.len() > 5 { ", …" } else { "" };
                words.push(format!("{} {sort}: {}{more}", names.len(), first.join(", ")));
            }
        }
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(objects: &[(&str, &str, &str)]) -> Inventory {
        let each = objects
            .iter()
            .map(|(kind, name, definition)| (((*kind).to_owned(), (*name).to_owned()), (*definition).to_owned()));
        Inventory {
            objects: each.collect(),
            ..Inventory::default()
        }
    }

    #[test]
    fn each_difference_has_its_sort_and_its_name() {
        let source = of(&[
            ("view", "a", "1"),
            ("view", "b", "1"),
            ("index", "i", "x"),
            ("view", "tmp_1", "1"),
        ]);
        let mut target = of(&[("view", "a", "2"), ("index", "i", "x"), ("index", "j", "x")]);
        target.behind.push("counter t.id".to_owned());
        let found = differences(&source, &target, &["view tmp_*".to_owned()]);
        assert_eq!(found.missing, ["view b"]);
        assert_eq!(found.different, ["view a"]);
        assert_eq!(found.extra, ["index j"]);
        assert_eq!((found.count(), found.objects), (4, 3));
        assert_eq!(differences(&source, &source, &[]).count(), 0);
    }

    #[test]
    fn a_pattern_means_the_whole_name() {
        for (pattern, name, holds) in [
            ("view a", "view a", true),
            ("view a", "view ab", false),
            ("view *", "view ab", true),
            ("*tmp*", "index my_tmp_1", true),
            ("*tmp", "index my_tmp_1", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(like(name, pattern), holds, "{pattern} {name}");
        }
    }
}
