//! `import_run:`: verified outputs of earlier runs. Owns what is declared and what the caller resolved; whether a run
//! may be imported (its chain, its end) is the caller's to verify. Without a run, an import is known by name only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::builder::Builder;
use super::expression::ExpressionError;
use super::fault::nearest;
use super::node::{Node, known_keys};
use super::plan::PlannedImport;
use super::sources::{ImportedRun, Sources};
use super::text::{is_name, is_step_id};

impl Builder<'_> {
    /// The imports that a runbook declares, with the values of those runs that are named.
    pub(super) fn imports(&mut self, root: &Node, sources: &Sources<'_>) -> BTreeMap<String, PlannedImport> {
        let mut imports = BTreeMap::new();
        let mut values = Map::new();
        let entries = root
            .get("import_run")
            .map(|node| node.map("import_run", &mut self.faults))
            .unwrap_or_default();
        for (key, node) in entries {
            if !is_step_id(&key.text) {
                let hint = "lower-case letters, digits and _, a letter first";
                self.fault(key.at, format!("\"{}\" is no name of an import", key.text), hint);
            }
            let Some(mut import) = self.import(node) else { continue };
            let mut known = BTreeSet::new();
            if let Some(run) = sources.imports.get(key.text.as_str()) {
                if run.runbook != import.runbook {
                    let message = format!("run {} executed {}, not {}", run.run, run.runbook, import.runbook);
                    self.fault(node.at, message, "name a run of that runbook with --import");
                }
                let taken = self.taken(&import, run, node);
                values.insert(key.text.clone(), Value::Object(taken.clone()));
                import.run = Some(run.run.clone());
                import.head = Some(run.head.clone());
                import.values = taken.into_iter().collect();
            }
            known.extend(import.outputs.keys().cloned());
            self.imports.insert(key.text.clone(), known);
            imports.insert(key.text.clone(), import);
        }
        for name in sources.imports.keys().filter(|name| !imports.contains_key(**name)) {
            let at = root.get("import_run").map_or(root.at, |node| node.at);
            let hint = nearest(name, imports.keys().map(String::as_str))
                .unwrap_or_else(|| "declare it under import_run, or leave --import out".to_owned());
            self.fault(at, format!("the runbook imports nothing called {name}"), &hint);
        }
        if let Some(scope) = self.scope.as_object_mut()
            && root.get("import_run").is_some()
        {
            scope.insert("imports".to_owned(), Value::Object(values));
        }
        imports
    }

    fn import(&mut self, node: &Node) -> Option<PlannedImport> {
        let entries = node.map("an import", &mut self.faults);
        if entries.is_empty() {
            return None;
        }
        known_keys(entries, &["runbook", "outputs"], "an import", &mut self.faults);
        let (Some(runbook), Some(outputs)) = (node.get("runbook"), node.get("outputs")) else {
            let hint = "write { runbook: prepare-erp, outputs: { snapshot: steps.snapshot.outputs.snapshot } }";
            self.fault(node.at, "an import needs runbook and outputs", hint);
            return None;
        };
        let name = runbook.word("runbook", &mut self.faults)?.to_owned();
        if !is_name(&name) {
            let hint = "lower-case letters, digits and -";
            self.fault(runbook.at, format!("\"{name}\" is no runbook name"), hint);
        }
        let mut paths = BTreeMap::new();
        for (key, value) in outputs.map("outputs", &mut self.faults) {
            let Some(path) = value.word("an output", &mut self.faults) else {
                continue;
            };
            if step_and_output(path).is_none() {
                let hint = "write steps.ID.outputs.NAME, as that runbook names it";
                self.fault(value.at, format!("\"{path}\" is no output of a step"), hint);
            }
            if !is_step_id(&key.text) {
                let hint = "lower-case letters, digits and _, a letter first";
                self.fault(key.at, format!("\"{}\" is no name of an output", key.text), hint);
            }
            paths.insert(key.text.clone(), path.to_owned());
        }
        Some(PlannedImport {
            runbook: name,
            outputs: paths,
            run: None,
            head: None,
            values: BTreeMap::new(),
        })
    }

    /// The outputs that a run brings; a fault for each that it has not.
    fn taken(&mut self, import: &PlannedImport, run: &ImportedRun, node: &Node) -> Map<String, Value> {
        let mut taken = Map::new();
        for (name, path) in &import.outputs {
            let value = step_and_output(path).and_then(|(step, output)| run.outputs.get(step)?.get(output));
            match value {
                Some(value) => {
                    taken.insert(name.clone(), value.clone());
                }
                None => {
                    let at = node
                        .get("outputs")
                        .and_then(|node| node.get(name))
                        .map_or(node.at, |node| node.at);
                    let hint = "that step was not done there, or it does not declare this output";
                    self.fault(at, format!("run {} has no {path}", run.run), hint);
                }
            }
        }
        taken
    }

    /// Whether `imports.NAME.OUTPUT` is declared and its run is not named yet.
    pub(super) fn is_unknown_import(&self, name: &str) -> Result<bool, ExpressionError> {
        let mut path = name.split('.').skip(1);
        let import = path.next().unwrap_or_default();
        let Some(declared) = self.imports.get(import) else {
            return Err(ExpressionError(format!("import_run declares no {import}")));
        };
        let Some(output) = path.next() else {
            return Err(ExpressionError(format!(
                "{name} is no output; write imports.NAME.OUTPUT"
            )));
        };
        if !declared.contains(output) {
            return Err(ExpressionError(format!("the import {import} has no output {output}")));
        }
        let values = self.scope.get("imports").and_then(|imports| imports.get(import));
        Ok(values.and_then(|values| values.get(output)).is_none())
    }
}

/// `steps.ID.outputs.NAME`
fn step_and_output(path: &str) -> Option<(&str, &str)> {
    let (step, output) = path.strip_prefix("steps.")?.split_once(".outputs.")?;
    (is_step_id(step) && !output.is_empty() && !output.contains('.')).then_some((step, output))
}
