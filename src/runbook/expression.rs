//! The small expression language: `${ … }` in values, predicates, output paths. Strict: an undefined name is an error.
//! Values known before the run are resolved when the plan is made, outputs of steps when a step is executed.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

/// The most work that one expression may do.
const FUEL: u64 = 20_000;

/// An expression that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    Literal(&'a str),
    Expression(&'a str),
}

/// Takes `a ${ b } c` apart. `$${` is a literal `${`.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, ExpressionError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let inner = after.get(2..).unwrap_or_default();
        if let Some(escaped) = before.strip_suffix('$') {
            found.push(Part::Literal(escaped));
            found.push(Part::Literal("${"));
            rest = inner;
            continue;
        }
        if !before.is_empty() {
            found.push(Part::Literal(before));
        }
        let end = inner
            .find('}')
            .ok_or_else(|| ExpressionError("an expression `${` has no `}`".to_owned()))?;
        let (expression, tail) = inner.split_at(end);
        found.push(Part::Expression(expression.trim()));
        rest = tail.get(1..).unwrap_or_default();
    }
    if !rest.is_empty() {
        found.push(Part::Literal(rest));
    }
    Ok(found)
}

/// Whether a text has an expression.
pub fn has_expression(text: &str) -> bool {
    parts(text).is_ok_and(|parts| parts.iter().any(|part| matches!(part, Part::Expression(_))))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// The names that an expression uses, dotted.
pub fn names(expression: &str) -> Result<Vec<String>, ExpressionError> {
    let environment = environment();
    let compiled = environment
        .compile_expression(expression)
        .map_err(|error| syntax(&error))?;
    let mut names: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    names.sort();
    Ok(names)
}

/// An expression with the steps in `steps.NAME…` renamed, as far as `to` has another name; what stands in quotes stays.
pub(super) fn rename_steps(expression: &str, to: impl Fn(&str) -> Option<String>) -> String {
    let is_word = |ch: char| ch.is_alphanumeric() || ch == '_';
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    // The character before: a field named steps is no step.
    let mut before = ' ';
    while let Some(ch) = rest.chars().next() {
        if let Some(name) = rest
            .strip_prefix("steps.")
            .filter(|_| !is_word(before) && before != '.')
        {
            let end = name.find(|ch| !is_word(ch)).unwrap_or(name.len());
            let (name, tail) = name.split_at(end);
            out.push_str("steps.");
            out.push_str(&to(name).unwrap_or_else(|| name.to_owned()));
            rest = tail;
            before = 's';
            continue;
        }
        let length = if ch == '"' || ch == '\'' {
            quoted(rest, ch)
        } else {
            ch.len_utf8()
        };
        let (taken, tail) = rest.split_at(length);
        out.push_str(taken);
        before = ch;
        rest = tail;
    }
    out
}

/// The length of the text in quotes that `rest` begins with.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, ch) in rest.char_indices().skip(1) {
        if !escaped && ch == quote {
            return at + ch.len_utf8();
        }
        escaped = !escaped && ch == '\\';
    }
    rest.len()
}

fn syntax(error: &minijinja::Error) -> ExpressionError {
    ExpressionError(error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
}

/// Evaluates an expression over `scope`, an object of names.
pub fn evaluate(expression: &str, scope: &Value) -> Result<Value, ExpressionError> {
    let environment = environment();
    let compiled = environment
        .compile_expression(expression)
        .map_err(|error| syntax(&error))?;
    let value = compiled
        .eval(minijinja::value::Serde(scope))
        .map_err(|error| ExpressionError(format!("`{expression}`: {}", syntax(&error))))?;
    if value.is_undefined() {
        return Err(ExpressionError(format!("`{expression}` is not defined")));
    }
    serde_json::to_value(&value).map_err(|error| ExpressionError(format!("`{expression}`: {error}")))
}

/// Replaces every `${ … }` of a text; a text that is one expression keeps the value's type.
pub fn interpolate(text: &str, scope: &Value) -> Result<Value, ExpressionError> {
    let found = parts(text)?;
    if let [Part::Expression(expression)] = found.as_slice() {
        return evaluate(expression, scope);
    }
    let mut out = String::new();
    for part in found {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Expression(expression) => match evaluate(expression, scope)? {
                Value::String(text) => out.push_str(&text),
                Value::Null => return Err(ExpressionError(format!("`{expression}` is null inside a text"))),
                other => out.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(out))
}

/// Resolves `${ steps.X.outputs.Y }` at execution.
pub fn resolve(with: &Value, outputs: &BTreeMap<String, Map<String, Value>>) -> Result<Value, ExpressionError> {
    let steps: Map<String, Value> = outputs
        .iter()
        .map(|(step, outputs)| (step.clone(), json!({ "outputs": outputs })))
        .collect();
    deep(with, &json!({ "steps": steps }))
}

fn deep(value: &Value, scope: &Value) -> Result<Value, ExpressionError> {
    match value {
        Value::String(text) if text.contains("${") => interpolate(text, scope),
        Value::Array(items) => items
            .iter()
            .map(|item| deep(item, scope))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| deep(value, scope).map(|value| (key.clone(), value)))
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
    }
}

/// A predicate over `scope`; anything but true or false is an error.
pub fn predicate(text: &str, scope: &Value) -> Result<bool, ExpressionError> {
    match evaluate(text, scope)? {
        Value::Bool(answer) => Ok(answer),
        other => Err(ExpressionError(format!(
            "`{text}` gives {other}, a predicate must give true or false"
        ))),
    }
}

/// Takes `result.a.b` out of an action's result.
pub fn extract(path: &str, result: &Map<String, Value>) -> Result<Value, ExpressionError> {
    evaluate(path, &json!({ "result": result }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn one_expression_keeps_its_type_and_a_mixed_text_is_text() {
        let outputs = BTreeMap::from([("a".to_owned(), json!({ "n": 7, "s": "x" }).as_object().unwrap().clone())]);
        let with = json!({ "n": "${ steps.a.outputs.n }", "t": "n=${ steps.a.outputs.n } $${kept}", "l": ["${ steps.a.outputs.s }"] });
        assert_eq!(
            resolve(&with, &outputs).unwrap(),
            json!({ "n": 7, "t": "n=7 ${kept}", "l": ["x"] })
        );
    }

    #[test]
    fn an_undefined_name_is_an_error() {
        assert!(resolve(&json!("${ steps.b.outputs.n }"), &BTreeMap::new()).is_err());
        assert!(predicate("rows == 0", &json!({ "row": 0 })).is_err());
        assert!(predicate("rows", &json!({ "rows": 0 })).is_err());
        assert!(predicate("rows == 0 and not broken", &json!({ "rows": 0, "broken": false })).unwrap());
    }

    #[test]
    fn steps_are_renamed_but_for_what_stands_in_quotes() {
        let renamed = rename_steps(
            "steps.a.outputs.n + x.steps.a ~ 'steps.a \\' steps.a' ~ steps.ab.outputs.n",
            |name| (name == "a").then(|| "a_crm".to_owned()),
        );
        assert_eq!(
            renamed,
            "steps.a_crm.outputs.n + x.steps.a ~ 'steps.a \\' steps.a' ~ steps.ab.outputs.n"
        );
    }

    #[test]
    fn names_are_dotted() {
        assert_eq!(
            names("value == steps.count.outputs.n").unwrap(),
            ["steps.count.outputs.n", "value"]
        );
    }
}
