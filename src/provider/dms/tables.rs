//! What DMS says of each table of a task: its load, its changes, its validation. Owns the judgement and the words; asks
//! nobody.

use aws_sdk_databasemigration::types::TableStatistics;
use serde_json::{Map, Value, json};

/// The most tables that words name.
const NAMED: usize = 8;

/// What validation says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// Rows differ, cannot be compared, or nobody compares them.
    Bad,
    /// It is compared.
    Pending,
    Good,
    /// The author says that something else compares it.
    Covered,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `schema.table`.
    pub name: String,
    pub state: String,
    /// Rows of the full load, and changes since.
    pub rows: i64,
    pub changes: i64,
    /// What DMS calls its validation.
    pub validation: String,
    pub pending: i64,
    pub failed: i64,
    pub suspended: i64,
    pub details: Option<String>,
    pub validity: Validity,
}

impl Table {
    fn new(found: &TableStatistics, covered: &[String]) -> Self {
        let (schema, table) = (
            found.schema_name().unwrap_or_default(),
            found.table_name().unwrap_or_default(),
        );
        let name = format!("{schema}.{table}");
        let validation = found.validation_state().unwrap_or("Not enabled").to_owned();
        let is_covered = covered.iter().any(|known| *known == name || known == table);
        let (failed, suspended) = (found.validation_failed_records(), found.validation_suspended_records());
        let validity = match validation.as_str() {
            // Rows that are known to differ are covered by nothing.
            _ if failed > 0 => Validity::Bad,
            _ if is_covered => Validity::Covered,
            "Validated" if found.validation_pending_records() > 0 => Validity::Pending,
            "Validated" if suspended == 0 => Validity::Good,
            "Pending records" | "Pending validation" | "Preparing table" | "Pending revalidation" => Validity::Pending,
            _ => Validity::Bad,
        };
        Self {
            state: found.table_state().unwrap_or_default().to_owned(),
            rows: found.full_load_rows(),
            changes: found.inserts() + found.updates() + found.deletes(),
            pending: found.validation_pending_records(),
            details: found
                .validation_state_details()
                .filter(|words| !words.is_empty())
                .map(str::to_owned),
            name,
            validation,
            failed,
            suspended,
            validity,
        }
    }

    /// Whether it is not migrated any more.
    pub fn is_broken(&self) -> bool {
        let state = self.state.to_lowercase();
        state.contains("error") || state.contains("suspend")
    }

    /// One line for people.
    fn line(&self) -> String {
        let mut line = format!(
            "{}: {}, {} rows loaded, {} changes; {}",
            self.name, self.state, self.rows, self.changes, self.validation
        );
        for (count, what) in [
            (self.failed, "differ"),
            (self.suspended, "cannot be compared"),
            (self.pending, "to compare"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        if self.validity == Validity::Covered {
            line.push_str(", covered elsewhere");
        }
        line
    }
}

/// All tables of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables(pub Vec<Table>);

impl Tables {
    /// As they are described; `covered` names those that something else compares.
    pub fn new(found: &[TableStatistics], covered: &[String]) -> Self {
        Self(found.iter().map(|table| Table::new(table, covered)).collect())
    }

    /// Names of `covered` that no table has.
    pub fn unknown(&self, covered: &[String]) -> Vec<String> {
        let has = |name: &String| {
            let mut tables = self.0.iter();
            tables.any(|table| table.name == *name || table.name.rsplit('.').next() == Some(name))
        };
        covered.iter().filter(|name| !has(name)).cloned().collect()
    }

    /// What asks for people first, then what is under way, then the rest: one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut tables: Vec<&Table> = self.0.iter().collect();
        tables.sort_by_key(|table| (!table.is_broken(), table.validity, table.name.clone()));
        tables.into_iter().map(Table::line).collect()
    }

    /// Tables of this validity.
    pub fn count(&self, validity: Validity) -> usize {
        self.0.iter().filter(|table| table.validity == validity).count()
    }

    /// Rows that arrived.
    pub fn rows(&self) -> i64 {
        self.0.iter().map(|table| table.rows + table.changes).sum()
    }

    /// Why the validation does not hold and will not by itself: every table, as far as words go.
    pub fn bad(&self) -> Option<String> {
        let bad: Vec<String> = self
            .0
            .iter()
            .filter(|table| table.validity == Validity::Bad)
            .map(|table| {
                let details = table
                    .details
                    .as_ref()
                    .map(|words| format!(" ({words})"))
                    .unwrap_or_default();
                let rows = match (table.failed, table.suspended) {
                    (0, 0) => String::new(),
                    (failed, suspended) => format!(": {failed} rows differ, {suspended} cannot be compared"),
                };
                format!("{} is \"{}\"{rows}{details}", table.name, table.validation)
            })
            .collect();
        if bad.is_empty() {
            return None;
        }
        let more = match bad.len().checked_sub(NAMED) {
            None | Some(0) => String::new(),
            Some(more) => format!("; and {more} more"),
        };
        let named = bad.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        Some(format!(
            "{named}{more}; look into awsdms_validation_failures_v1 on the target, or name under covered: what something \
             else compares"
        ))
    }

    /// What is still compared.
    pub fn pending(&self) -> Option<String> {
        let open = self.count(Validity::Pending);
        let rows: i64 = self.0.iter().map(|table| table.pending).sum();
        (open > 0).then(|| format!("validation: {rows} rows pending, {open} tables open"))
    }

    /// What `expect:` and `outputs:` see of the validation.
    pub fn result(&self) -> Map<String, Value> {
        let sum = |of: fn(&Table) -> i64| self.0.iter().map(of).sum::<i64>();
        let mut result = Map::new();
        for (name, value) in [
            ("tables", json!(self.0.len())),
            ("validated", json!(self.count(Validity::Good))),
            ("covered", json!(self.count(Validity::Covered))),
            ("failed", json!(sum(|table| table.failed))),
            ("suspended", json!(sum(|table| table.suspended))),
            ("pending", json!(sum(|table| table.pending))),
        ] {
            result.insert(name.to_owned(), value);
        }
        result
    }

    /// All of it, for the record.
    pub fn evidence(&self) -> Vec<(String, Vec<u8>)> {
        let mut text = self.lines().join("\n");
        text.push('\n');
        vec![("tables".to_owned(), text.into_bytes())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, validation: &str, failed: i64) -> TableStatistics {
        let table = TableStatistics::builder().schema_name("erp").table_name(name);
        table
            .table_state("Table completed")
            .validation_state(validation)
            .validation_failed_records(failed)
            .build()
    }

    #[test]
    fn only_what_is_compared_and_equal_is_good() {
        let validity = |state: &str, failed: i64, covered: &[&str]| {
            let covered: Vec<String> = covered.iter().map(|name| (*name).to_owned()).collect();
            Tables::new(&[table("orders", state, failed)], &covered)
                .0
                .first()
                .map(|table| table.validity)
        };
        for (state, good) in [
            ("Validated", Validity::Good),
            ("Pending records", Validity::Pending),
            ("Pending revalidation", Validity::Pending),
            ("Preparing table", Validity::Pending),
            ("Not enabled", Validity::Bad),
            ("No primary key", Validity::Bad),
            ("Mismatched records", Validity::Bad),
            ("Suspended records", Validity::Bad),
            ("Error", Validity::Bad),
            ("Table error", Validity::Bad),
            ("a state of next year", Validity::Bad),
        ] {
            assert_eq!(validity(state, 0, &[]), Some(good), "{state}");
        }
        for name in ["orders", "erp.orders"] {
            assert_eq!(
                validity("No primary key", 0, &[name]),
                Some(Validity::Covered),
                "{name}"
            );
            assert_eq!(
                validity("Mismatched records", 2, &[name]),
                Some(Validity::Bad),
                "rows that differ: {name}"
            );
        }
        assert_eq!(validity("No primary key", 0, &["erp.other"]), Some(Validity::Bad));
        assert_eq!(validity("Validated", 1, &[]), Some(Validity::Bad));
    }

    #[test]
    fn what_asks_for_people_is_first_and_all_is_counted() {
        let found: Vec<TableStatistics> = (0..12)
            .map(|n| {
                table(
                    &format!("t{n:02}"),
                    if n < 10 { "Mismatched records" } else { "Validated" },
                    i64::from(n < 10),
                )
            })
            .chain([table("a", "Validated", 0)])
            .collect();
        let tables = Tables::new(&found, &[]);
        let lines = tables.lines();
        assert!(
            lines.iter().take(10).all(|line| line.contains("Mismatched")),
            "{lines:?}"
        );
        let bad = tables.bad().unwrap_or_default();
        assert!(bad.contains("erp.t01") && bad.contains("and 2 more"), "{bad}");
        assert_eq!(
            tables.unknown(&["t03".to_owned(), "erp.a".to_owned(), "b".to_owned()]),
            ["b"]
        );
    }
}
