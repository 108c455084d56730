//! Actions of a runbook against the catalogue: name, connections, parameters. Every parameter is checked by its kind.

use serde_json::{Map, Value, json};

use super::builder::{Builder, literal};
use super::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec};
use super::expression::{Part, has_expression, names, parts};
use super::fault::nearest;
use super::node::{Key, Node, NodeValue};
use super::plan::PlannedAction;
use super::text::{duration, statuses};

/// Kinds of connections that `sql` stands for.
pub(super) const SQL: &[&str] = &["sqlite", "mysql", "postgres", "sqlserver"];

impl Builder<'_> {
    /// The action that `node` (a step, a check, a rollback) declares.
    pub fn action(&mut self, node: &Node, what: &str) -> Option<(PlannedAction, &'static ActionSpec)> {
        let Some(uses) = node.get("uses") else {
            self.fault(node.at, format!("{what} has no action"), "write uses: provider.action");
            return None;
        };
        let name = uses.word("uses", &mut self.faults)?.to_owned();
        let Some(spec) = self.catalogue.find(&name) else {
            let hint = nearest(&name, self.catalogue.all().map(|spec| spec.uses))
                .unwrap_or_else(|| "see `pointsman schema` for all actions".to_owned());
            self.fault(uses.at, format!("there is no action \"{name}\""), &hint);
            return None;
        };
        if !spec.available {
            self.later(format!("action {name}"));
        }
        let on = self.targets(node, spec);
        let timeout = node.get("timeout").and_then(|node| self.duration(node, "timeout"));
        let engine = on
            .first()
            .and_then(|name| self.connections.get(name))
            .map(|connection| connection.uses.clone());
        let with = self.parameters(node, spec, engine.as_deref());
        if matches!(spec.uses, "shell.command" | "ssh.command") {
            self.command(node, &with);
        }
        self.network(node, spec, &on, &with);
        let action = PlannedAction {
            uses: name,
            on,
            with,
            effect: spec.effect,
            timeout,
            dry_run_execute: false,
            declared_read: false,
            live: None,
        };
        Some((action, spec))
    }

    /// Checks an action that the lab replaces by its substitute: against the connections as declared, and without
    /// asking whether this version executes it.
    pub fn replaced_action(&mut self, node: &Node, what: &str) {
        let declared = self.declared.clone();
        let connections = std::mem::replace(&mut self.connections, declared);
        let later = self.not_available.clone();
        self.replaced = true;
        let _checked = self.action(node, what);
        self.not_available = later;
        self.connections = connections;
        self.replaced = false;
    }

    fn targets(&mut self, node: &Node, spec: &ActionSpec) -> Vec<String> {
        let Some(target) = node.get("on") else {
            // What asks over the network may say itself where.
            if !spec.on.is_empty() && spec.on != ["http"] {
                let hint = format!("write on: with a connection of kind {}", spec.on.join(", "));
                self.fault(node.at, format!("{} needs a connection", spec.uses), &hint);
            }
            return Vec::new();
        };
        if spec.on.is_empty() {
            self.fault(target.at, format!("{} takes no connection", spec.uses), "remove on:");
            return Vec::new();
        }
        let names = self.connection_names(target);
        if names.len() > spec.on.len() {
            self.fault(
                target.at,
                format!("{} takes at most {} connections", spec.uses, spec.on.len()),
                "name fewer",
            );
        }
        for (name, wanted) in names.iter().zip(spec.on) {
            let Some(connection) = self.connections.get(name) else {
                if self.declared.contains_key(name) {
                    let hint =
                        "it offers source, target, aws and app; use these names, or write lab: with a substitute";
                    self.fault(target.at, format!("the lab has no connection {name}"), hint);
                    continue;
                }
                let known: Vec<&str> = self.connections.keys().map(String::as_str).collect();
                let hint =
                    nearest(name, known.iter().copied()).unwrap_or_else(|| format!("declared: {}", known.join(", ")));
                self.fault(target.at, format!("there is no connection {name}"), &hint);
                continue;
            };
            let kind = connection.uses.clone();
            let fits = if *wanted == "sql" {
                SQL.contains(&kind.as_str())
            } else {
                *wanted == kind
            };
            if !fits {
                let message = format!("{} needs a connection of kind {wanted}; {name} is {kind}", spec.uses);
                self.fault(target.at, message, "name another connection");
            }
        }
        names
    }

    /// `on:`, where a loop's variable may choose the connection. A name that is not known now is told and left out.
    fn connection_names(&mut self, target: &Node) -> Vec<String> {
        match &target.value {
            NodeValue::List(items) => items
                .iter()
                .filter_map(|item| self.words_known_now(item, "on"))
                .collect(),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::Map(_) => self.words_known_now(target, "on").into_iter().collect(),
        }
    }

    fn parameters(&mut self, node: &Node, spec: &ActionSpec, engine: Option<&str>) -> Value {
        let mut with = Map::new();
        let given: &[(Key, Node)] = node
            .get("with")
            .map(|node| node.map("with", &mut self.faults))
            .unwrap_or_default();
        for (key, value) in given {
            let Some(param) = spec.params.iter().find(|param| param.name == key.text) else {
                let known = spec.params.iter().map(|param| param.name);
                let hint = nearest(&key.text, known.clone())
                    .unwrap_or_else(|| format!("{} takes: {}", spec.uses, known.collect::<Vec<_>>().join(", ")));
                self.fault(
                    key.at,
                    format!("{} has no parameter \"{}\"", spec.uses, key.text),
                    &hint,
                );
                continue;
            };
            let json = self.parameter(param, value, engine, spec.results);
            with.insert(key.text.clone(), json);
        }
        for param in spec.params.iter().filter(|param| param.required) {
            if !given.iter().any(|(key, _)| key.text == param.name) {
                let at = node.get("with").map_or(node.at, |node| node.at);
                self.fault(
                    at,
                    format!("{} needs the parameter {}", spec.uses, param.name),
                    param.doc,
                );
            }
        }
        self.alternatives(node, spec, given);
        Value::Object(with)
    }

    fn parameter(&mut self, param: &ParamSpec, node: &Node, engine: Option<&str>, results: &[&str]) -> Value {
        if param.kind == ParamKind::Sql {
            return self.sql(node, engine);
        }
        if param.kind == ParamKind::Predicate {
            return self.predicate(node, results);
        }
        if param.kind == ParamKind::Checks {
            return self.nested_checks(node, param.name);
        }
        if param.kind == ParamKind::Assertions {
            return self.assertions(node, param.name);
        }
        if param.kind == ParamKind::Stages {
            return self.stages(node, param.name);
        }
        let value = self.value(node, param.name);
        let deferred = value.as_str().is_some_and(has_expression);
        if !deferred {
            self.of_kind(param, &value, node);
        }
        value
    }

    fn of_kind(&mut self, param: &ParamSpec, value: &Value, node: &Node) {
        let texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
        let scalars = |value: &Value| {
            value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| !item.is_array() && !item.is_object()))
        };
        let wanted = match param.kind {
            ParamKind::Text => (!value.is_string()).then(|| "text".to_owned()),
            ParamKind::Integer { min, max } => match value.as_i64() {
                Some(number) if (min..=max).contains(&number) => None,
                _ => Some(format!("an integer from {min} to {max}")),
            },
            ParamKind::Number => (!value.is_number()).then(|| "a number".to_owned()),
            ParamKind::Boolean => (!value.is_boolean()).then(|| "true or false".to_owned()),
            ParamKind::Duration => {
                let good = value.as_str().is_some_and(|text| duration(text).is_some());
                (!good).then(|| "a duration (90s, 12m, 2h)".to_owned())
            }
            ParamKind::OneOf(options) => {
                let good = value.as_str().is_some_and(|text| options.contains(&text));
                (!good).then(|| options.join(" or "))
            }
            ParamKind::Statuses => statuses(value)
                .is_none()
                .then(|| "200, 2xx or a list of these".to_owned()),
            ParamKind::TextList | ParamKind::Argv => (!texts(value)).then(|| "a list of texts".to_owned()),
            ParamKind::Params => (!scalars(value)).then(|| "a list of values".to_owned()),
            ParamKind::TextMap => {
                let good = value.as_object().is_some_and(|map| map.values().all(Value::is_string));
                (!good).then(|| "a map of texts".to_owned())
            }
            ParamKind::TextLists => {
                let good = value.as_object().is_some_and(|map| map.values().all(texts));
                (!good).then(|| "a map of lists of texts".to_owned())
            }
            ParamKind::Any
            | ParamKind::Sql
            | ParamKind::Predicate
            | ParamKind::Checks
            | ParamKind::Assertions
            | ParamKind::Stages => None,
        };
        if let Some(wanted) = wanted {
            let found = if value.is_null() {
                "nothing".to_owned()
            } else {
                value.to_string()
            };
            self.fault(
                node.at,
                format!("{} is {found}, it must be {wanted}", param.name),
                param.doc,
            );
        }
    }

    /// A predicate; one that uses other steps' outputs carries them along.
    fn predicate(&mut self, node: &Node, results: &[&str]) -> Value {
        let Some(text) = node.word("a predicate", &mut self.faults).map(str::to_owned) else {
            return Value::Null;
        };
        if has_expression(&text) {
            self.fault(
                node.at,
                "a predicate is an expression itself",
                "write it without ${ }: rows == 0",
            );
            return Value::Null;
        }
        let used = match names(&text) {
            Ok(used) => used,
            Err(error) => {
                self.fault(
                    node.at,
                    format!("this predicate cannot be read: {error}"),
                    "write it like: rows == 0",
                );
                return Value::Null;
            }
        };
        self.predicate_names(&used, node, results);
        let mut steps = Map::new();
        for name in used.iter().filter(|name| name.starts_with("steps.")) {
            let meant = match self.refer(name, node.at) {
                Ok(meant) => meant,
                Err(error) => {
                    self.fault(
                        node.at,
                        error.to_string(),
                        "name the output of a step that this one needs",
                    );
                    continue;
                }
            };
            let mut path = name.split('.').skip(1);
            if let (Some(step), _, Some(output)) = (path.next(), path.next(), path.next()) {
                let entry = steps.entry(step.to_owned()).or_insert_with(|| json!({ "outputs": {} }));
                if let Some(outputs) = entry.get_mut("outputs").and_then(Value::as_object_mut) {
                    let whole: Vec<&str> = meant.split('.').take(4).collect();
                    outputs.insert(output.to_owned(), Value::String(format!("${{ {} }}", whole.join("."))));
                }
            }
        }
        let known = self.known_names(&used, node);
        let vars = used.iter().any(|name| name.starts_with("vars."));
        if steps.is_empty() && known.is_empty() && !vars {
            return Value::String(text);
        }
        let vars = literal(self.scope.get("vars").cloned().unwrap_or(Value::Null));
        let mut bound = json!({ "predicate": text, "steps": steps, "vars": vars });
        if let (false, Some(bound)) = (known.is_empty(), bound.as_object_mut()) {
            bound.insert("known".to_owned(), Value::Object(known));
        }
        bound
    }

    /// A predicate knows the fields of its action's result and what expressions know; it is found out now, not in the
    /// middle of the night.
    fn predicate_names(&mut self, used: &[String], node: &Node, results: &[&str]) {
        for name in used {
            let root = name.split(['.', '[']).next().unwrap_or(name);
            let known = ["result", "steps", "vars", "env", "imports"].contains(&root)
                || results.contains(&root)
                || self.scope.get(root).is_some();
            if !known {
                let hint = nearest(root, results.iter().copied())
                    .unwrap_or_else(|| format!("the result has: {}", results.join(", ")));
                self.fault(
                    node.at,
                    format!("this predicate uses {root}, which nobody knows"),
                    &hint,
                );
            }
        }
    }

    /// Loops' variables and imports that a predicate uses.
    fn known_names(&mut self, used: &[String], node: &Node) -> Map<String, Value> {
        let mut known = Map::new();
        for name in used {
            let root = name.split('.').next().unwrap_or(name);
            let unknown = if root == "imports" {
                self.is_unknown_import(name)
            } else {
                Ok(false)
            };
            match unknown {
                Ok(true) => {}
                Ok(false) if ["vars", "env", "steps"].contains(&root) => {}
                Ok(false) => {
                    if let Some(value) = self.scope.get(root) {
                        known.insert(root.to_owned(), literal(value.clone()));
                    }
                }
                Err(error) => self.fault(node.at, error.to_string(), "import_run declares what can be used"),
            }
        }
        known
    }

    /// Commands take `argv`: an expression may neither become an option nor part of a shell's program.
    fn command(&mut self, node: &Node, with: &Value) {
        let Some(argv) = node.get("with").and_then(|with| with.get("argv")) else {
            return;
        };
        let NodeValue::List(items) = &argv.value else { return };
        let shell = items.first().and_then(Node::text).is_some_and(|program| {
            ["sh", "bash", "dash", "zsh", "ksh"].contains(&program.rsplit('/').next().unwrap_or(program))
        });
        let mut options_over = false;
        for (index, item) in items.iter().enumerate() {
            let text = item.text().unwrap_or_default();
            let found = parts(text).unwrap_or_default();
            let expression = found.iter().any(|part| matches!(part, Part::Expression(_)));
            if expression && shell {
                let hint = "pass the value as an own argument after the program text, or in env:";
                let program = items.get(index.wrapping_sub(1)).and_then(Node::text) == Some("-c");
                if program {
                    self.fault(item.at, "an expression inside a shell's program", hint);
                    continue;
                }
            }
            let leads = matches!(found.first(), Some(Part::Expression(_)));
            if leads && !options_over {
                let resolved = with
                    .get("argv")
                    .and_then(|argv| argv.get(index))
                    .and_then(Value::as_str);
                let may_be_option = resolved.is_none_or(|text| text.starts_with('-') || has_expression(text));
                if may_be_option {
                    let hint = "put \"--\" before it, or write it as --name=${ … }";
                    self.fault(item.at, "an argument from an expression may begin with -", hint);
                }
            }
            options_over |= text == "--";
        }
    }
}

/// Whether an author may declare this effect for an action.
pub(super) const fn may_declare(spec: &ActionSpec, effect: Effect) -> bool {
    match effect {
        Effect::Mutate => true,
        Effect::Read => {
            matches!(spec.effect, Effect::Read)
                || matches!(spec.reversibility, super::catalogue::Reversibility::Declared)
        }
        Effect::Human => matches!(spec.effect, Effect::Human),
    }
}
