//! The JSON Schema of the runbook format (draft 2020-12), for editors. Made from plain descriptions here, apart from
//! the walk that validates; a test holds the two together.

use serde_json::{Map, Value, json};

use super::catalogue::{ActionSpec, Catalogue, ParamKind};
use super::connections::KINDS;

/// The schema for a catalogue of actions.
pub fn schema(catalogue: &Catalogue) -> Value {
    let names: Vec<&str> = catalogue.all().map(|spec| spec.uses).collect();
    let rules: Vec<Value> = catalogue
        .all()
        .map(|spec| {
            json!({
                "if": { "properties": { "uses": { "const": spec.uses } }, "required": ["uses"] },
                "then": { "properties": { "with": with(spec) } },
            })
        })
        .collect();
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let text = || json!({ "type": "string" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pointsman runbook, version 1",
        "type": "object",
        "required": ["version", "name", "phases"],
        "additionalProperties": false,
        "properties": {
            "version": { "const": 1 },
            "name": { "type": "string", "pattern": "^[a-z0-9-]+$" },
            "title": text(),
            "author": text(),
            "vars": { "type": "object" },
            "secrets": { "type": "object", "additionalProperties": { "$ref": "#/$defs/secret" } },
            "connections": { "type": "object", "additionalProperties": { "$ref": "#/$defs/connection" } },
            "environments": { "type": "object", "additionalProperties": { "$ref": "#/$defs/environment" } },
            "people": { "type": "object", "additionalProperties": { "$ref": "#/$defs/person" } },
            "preflight": fields(&[("valid_for", reference("duration"))], &[]),
            "residency": { "type": "array", "items": text() },
            "unwind_gate": reference("gate"),
            "point_of_no_return": reference("gate"),
            "commit": fields(&[("gate", reference("gate"))], &[]),
            "import_run": { "type": "object", "additionalProperties": fields(&[
                ("runbook", json!({ "type": "string", "pattern": "^[a-z0-9-]+$" })),
                ("outputs", json!({ "type": "object", "additionalProperties": {
                    "type": "string", "pattern": "^steps\\.[a-z][a-z0-9_]*\\.outputs\\.[^.]+$",
                } })),
            ], &["runbook", "outputs"]) },
            "notify": true,
            "witness": true,
            "phases": { "type": "array", "items": { "$ref": "#/$defs/phase" } },
        },
        "$defs": {
            "duration": { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" },
            "words": { "oneOf": [text(), { "type": "array", "items": text() }] },
            "secret": fields(&[
                ("env", text()), ("file", text()), ("aws_secret", text()),
                ("command", json!({ "type": "array", "items": text() })),
            ], &[]),
            "connection": {
                "type": "object",
                "required": ["uses"],
                "properties": { "uses": { "enum": kinds } },
            },
            "person": fields(&[
                ("name", text()), ("org", text()), ("roles", reference("words")), ("keys", reference("words")),
            ], &[]),
            "environment": fields(&[
                ("kind", json!({ "enum": ["lab", "rehearsal", "production"] })),
                ("approvals", json!({ "enum": ["typed", "signed"] })),
                ("auto_approve", json!({ "type": "boolean" })),
                ("window", fields(&[
                    ("opens", text()), ("closes", text()), ("timezone", text()), ("business_opens", text()),
                    ("at_end", json!({ "enum": ["ask", "hold", "notify"] })),
                    ("extend", reference("gate")),
                ], &["opens", "closes"])),
                ("downtime_budget", reference("duration")),
                ("log_retention", reference("duration")),
                ("reverse_drain", reference("duration")),
                ("validation", reference("duration")),
                ("ticket", text()),
                ("requires_rehearsal", fields(&[
                    ("within", reference("duration")), ("with_rollback", json!({ "type": "boolean" })),
                ], &[])),
                ("people", json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/person" } })),
                ("vars", json!({ "type": "object" })),
                ("connections", json!({ "type": "object" })),
            ], &[]),
            "approve": fields(&[
                ("roles", reference("words")),
                ("min", json!({ "type": "integer", "minimum": 1, "maximum": 20 })),
                ("org", text()),
                ("distinct_from", reference("words")),
            ], &["roles"]),
            "gate": { "oneOf": [
                fields(&[("none", text())], &["none"]),
                fields(&[
                    ("approve", reference("approve")),
                    ("expires", reference("duration")),
                    ("phrase", text()),
                    ("timeout", json!({ "enum": ["hold", "reject", "escalate"] })),
                    ("escalate", reference("approve")),
                ], &[]),
            ] },
            "action": {
                "type": "object",
                "required": ["uses"],
                "properties": {
                    "uses": { "enum": names },
                    "on": reference("words"),
                    "with": { "type": "object" },
                    "timeout": reference("duration"),
                },
                "allOf": rules,
            },
            "check": {
                "allOf": [{ "$ref": "#/$defs/action" }],
                "properties": { "live": fields(&[
                    ("max_age", reference("duration")),
                    ("hysteresis", json!({ "type": "integer", "minimum": 1, "maximum": 20 })),
                ], &["max_age"]) },
            },
            "retry": fields(&[
                ("max", json!({ "type": "integer", "minimum": 0, "maximum": 100 })), ("backoff", text()),
            ], &[]),
            "checks": fields(&[
                ("before", json!({ "type": "array", "items": { "$ref": "#/$defs/check" } })),
                ("after", json!({ "type": "array", "items": { "$ref": "#/$defs/action" } })),
            ], &[]),
            "rollback": { "oneOf": [
                fields(&[("not_needed", text())], &["not_needed"]),
                fields(&[("irreversible", text())], &["irreversible"]),
                fields(&[("at_close", json!({ "const": true }))], &["at_close"]),
                fields(&[("abandon", reference("action")), ("redo", reference("duration"))], &["abandon", "redo"]),
                { "allOf": [{ "$ref": "#/$defs/action" }], "properties": {
                    "retry": reference("retry"), "parallel": { "type": "boolean" },
                    "checks": fields(&[
                        ("before", json!({ "type": "array", "items": { "$ref": "#/$defs/action" } })),
                        ("after", json!({ "type": "array", "items": { "$ref": "#/$defs/action" } })),
                    ], &[]),
                } },
            ] },
            "for_each": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
                "additionalProperties": { "anyOf": [
                    { "type": "array", "minItems": 1, "maxItems": 200 },
                    { "type": "string", "pattern": "^\\$\\{.*\\}$" },
                ] },
            },
            "phase": { "oneOf": [
                fields(&[("include", text())], &["include"]),
                fields(&[
                    ("id", text()), ("title", text()), ("for_each", reference("for_each")),
                    ("steps", json!({ "type": "array", "items": { "$ref": "#/$defs/step" } })),
                ], &["id"]),
            ] },
            "step": step(),
        },
    })
}

fn step() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "allOf": [{ "$ref": "#/$defs/action" }],
        "required": ["id"],
        "unevaluatedProperties": false,
        "properties": {
            "id": { "type": "string", "pattern": "^[a-z][a-z0-9_]*$" },
            "title": text(),
            "effect": { "enum": ["read", "mutate", "human"] },
            "dry_run": { "const": "execute" },
            "lab": reference("action"),
            "needs": { "type": "array", "items": text() },
            "owner": text(),
            "gate": reference("gate"),
            "checks": reference("checks"),
            "expect": reference("duration"),
            "deadline": { "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$" },
            "timeout": reference("duration"),
            "retry": reference("retry"),
            "on_failure": { "enum": ["ask", "rollback"] },
            "downtime": { "enum": ["begins", "ends"] },
            "writes_on_target": { "const": "begins" },
            "divergence": fields(&[("on", text()), ("sql", json!(true))], &["on", "sql"]),
            "fall_forward": { "type": "boolean" },
            "outputs": { "type": "object", "additionalProperties": text() },
            "rollback": reference("rollback"),
            "notes": text(),
            "for_each": reference("for_each"),
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn fields(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn with(spec: &ActionSpec) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for param in spec.params {
        let mut value = kind(param.kind);
        if let Some(object) = value.as_object_mut() {
            object.insert("description".to_owned(), Value::from(param.doc));
        }
        properties.insert(param.name.to_owned(), value);
        if param.required {
            required.push(param.name);
        }
    }
    let mut with = json!({
        "type": "object",
        "description": spec.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let either: Vec<Value> = spec
        .params
        .iter()
        .filter(|param| param.instead.is_some())
        .map(|param| json!({ "required": [param.name] }))
        .collect();
    if let (false, Some(with)) = (either.is_empty(), with.as_object_mut()) {
        with.insert("oneOf".to_owned(), Value::Array(either));
    }
    with
}

/// A parameter may always be one expression.
fn kind(kind: ParamKind) -> Value {
    let expression = json!({ "type": "string", "pattern": "^\\$\\{.*\\}$" });
    let or = |value: Value| json!({ "anyOf": [value, expression] });
    match kind {
        ParamKind::Text => json!({ "type": "string" }),
        ParamKind::Sql => json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }),
        ParamKind::Predicate => json!({ "type": "string" }),
        ParamKind::Integer { min, max } => or(json!({ "type": "integer", "minimum": min, "maximum": max })),
        ParamKind::Number => or(json!({ "type": "number" })),
        ParamKind::Boolean => or(json!({ "type": "boolean" })),
        ParamKind::Duration => or(json!({ "$ref": "#/$defs/duration" })),
        ParamKind::OneOf(options) => or(json!({ "enum": options })),
        ParamKind::Statuses => {
            let one = json!({ "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^[1-5]([0-9][0-9]|xx)$" },
            ] });
            or(json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] }))
        }
        ParamKind::TextList | ParamKind::Argv => or(json!({ "type": "array", "items": { "type": "string" } })),
        ParamKind::Params => or(json!({ "type": "array" })),
        ParamKind::TextMap => or(json!({ "type": "object", "additionalProperties": { "type": "string" } })),
        ParamKind::TextLists => or(json!({ "type": "object", "additionalProperties": {
            "type": "array", "items": { "type": "string" },
        } })),
        ParamKind::Stages => {
            let share = json!({ "type": "integer", "minimum": 1, "maximum": 100 });
            let held = json!({
                "type": "object",
                "properties": { "share": share, "hold": { "$ref": "#/$defs/duration" } },
                "required": ["share"],
                "additionalProperties": false,
            });
            json!({ "type": "array", "minItems": 1, "items": { "anyOf": [share, held] } })
        }
        ParamKind::Checks => json!({ "type": "array", "items": {
            "type": "object",
            "properties": { "uses": { "type": "string" }, "on": {}, "with": { "type": "object" } },
            "required": ["uses"],
            "additionalProperties": false,
        } }),
        ParamKind::Assertions => json!({ "type": "array", "items": {
            "type": "object",
            "properties": { "uses": { "enum": ["tcp.check"] }, "with": { "type": "object" } },
            "required": ["uses"],
            "additionalProperties": false,
        } }),
        ParamKind::Any => json!({}),
    }
}
