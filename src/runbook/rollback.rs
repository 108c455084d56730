//! Rollbacks of steps: the forms, what an action admits, and what runs at the close.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::builder::Builder;
use super::catalogue::{ActionSpec, Effect, ParamKind, Reversibility};
use super::checks::ChecksOf;
use super::node::{Node, known_keys};
use super::plan::{PlannedAction, Rollback};

/// The key that tells each form, and all that the form may say.
const FORMS: &[(&str, &[&str])] = &[
    ("not_needed", &["not_needed"]),
    ("irreversible", &["irreversible"]),
    ("abandon", &["abandon", "redo"]),
    ("at_close", &["at_close"]),
    (
        "uses",
        &["uses", "on", "with", "timeout", "retry", "checks", "parallel"],
    ),
];
const ABANDON_KEYS: &[&str] = &["uses", "on", "with", "timeout", "redo"];

impl Builder<'_> {
    /// The rollback of a step, or the fault that it has none.
    pub(super) fn rollback(
        &mut self,
        step: &Node,
        spec: &ActionSpec,
        action: &PlannedAction,
        outputs: &BTreeMap<String, String>,
    ) -> Rollback {
        let Some(node) = step.get("rollback") else {
            if action.effect == Effect::Mutate {
                let hint = match spec.reversibility {
                    Reversibility::Inverse(undos) => format!("its inverse is {}", undos.join(" or ")),
                    Reversibility::AtClose(_) => "write rollback: { at_close: true }".to_owned(),
                    Reversibility::Kept => "it stays: write rollback: { not_needed: \"why\" }".to_owned(),
                    Reversibility::Irreversible => "write rollback: { irreversible: \"why\" }".to_owned(),
                    Reversibility::Abandon | Reversibility::Declared | Reversibility::Nothing => {
                        "write an action, not_needed, abandon, at_close or irreversible".to_owned()
                    }
                };
                self.fault(
                    step.at,
                    format!("step {} changes something and has no rollback", self.step.clone()),
                    &hint,
                );
            }
            return Rollback::Nothing;
        };
        self.rollback_form(node);
        let reason = |builder: &mut Self, key: &str| {
            let node = node.get(key)?;
            let text = builder.words_known_now(node, key).unwrap_or_default().trim().to_owned();
            if text.is_empty() {
                builder.fault(node.at, format!("{key} needs its reason"), "say why in a few words");
            }
            Some(text)
        };
        if let Some(reason) = reason(self, "not_needed") {
            return Rollback::NotNeeded { reason };
        }
        if let Some(reason) = reason(self, "irreversible") {
            return Rollback::Irreversible { reason };
        }
        if let Some(abandon) = node.get("abandon") {
            let entries = abandon.map("abandon", &mut self.faults);
            known_keys(entries, ABANDON_KEYS, "abandon", &mut self.faults);
            let redo = node.get("redo").or_else(|| abandon.get("redo"));
            let redo = redo.and_then(|node| self.duration(node, "redo"));
            if redo.is_none() {
                self.fault(
                    abandon.at,
                    "abandon does not say what doing it again costs",
                    "add redo: 30h",
                );
            }
            let action = self.action(abandon, "abandon").map(|(action, _)| action);
            if let Some(action) = &action {
                self.no_poll(abandon, &action.uses, "an abandon");
            }
            return match (action, redo) {
                (Some(action), Some(redo)) => Rollback::Abandon { action, redo },
                (Some(_) | None, _) => Rollback::Nothing,
            };
        }
        if let Some(flag) = node.get("at_close") {
            if flag.flag("at_close", &mut self.faults) == Some(false) {
                self.fault(flag.at, "at_close can only be true", "write another form instead");
            }
            return self.at_close(node, spec, action, outputs);
        }
        let retry = self.retry(node.get("retry"));
        let (before, after) = self.checks(node.get("checks"), ChecksOf::Rollback);
        let parallel = node
            .get("parallel")
            .and_then(|node| node.flag("parallel", &mut self.faults))
            .unwrap_or(false);
        let Some((undo, undo_spec)) = self.action(node, "a rollback") else {
            return Rollback::Nothing;
        };
        self.no_poll(node, undo_spec.uses, "a rollback");
        if let Reversibility::Inverse(undos) = spec.reversibility
            && !undos.contains(&undo_spec.uses)
            && undo_spec.reversibility != Reversibility::Declared
        {
            let hint = format!("its inverse is {}", undos.join(" or "));
            self.fault(
                node.at,
                format!("{} does not undo {}", undo_spec.uses, spec.uses),
                &hint,
            );
        }
        if matches!(spec.reversibility, Reversibility::AtClose(_)) {
            self.fault(
                node.at,
                format!(
                    "what {} changes is put back when the run closes, not in the middle of it",
                    spec.uses
                ),
                "write rollback: { at_close: true }",
            );
        }
        if matches!(spec.reversibility, Reversibility::Irreversible) {
            self.fault(
                node.at,
                format!("{} cannot be undone", spec.uses),
                "write rollback: { irreversible: \"why\" }",
            );
        }
        if matches!(spec.reversibility, Reversibility::Kept) {
            let hint = "write rollback: { not_needed: \"why\" }";
            self.fault(
                node.at,
                format!("what {} makes is never deleted by an unwinding", spec.uses),
                hint,
            );
        }
        Rollback::Action {
            action: undo,
            before,
            after,
            retry,
            parallel,
        }
    }

    /// Every key must be known, and fit the form that the first telling key decides.
    fn rollback_form(&mut self, node: &Node) {
        let entries = node.map("a rollback", &mut self.faults);
        let all: Vec<&str> = FORMS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        known_keys(entries, &all, "a rollback", &mut self.faults);
        let Some((form, keys)) = FORMS.iter().find(|(key, _)| node.get(key).is_some()) else {
            return;
        };
        for (key, _) in entries {
            let known = all.contains(&key.text.as_str());
            if known && !keys.contains(&key.text.as_str()) {
                let hint = match *form {
                    "uses" => "an action says itself what it needs; remove it",
                    _ => "only a rollback by an action (uses:) can say that; remove it",
                };
                let message = format!("a rollback that is {} has no {}", form_words(form), key.text);
                self.fault(key.at, message, hint);
            }
        }
    }

    /// The inverse that runs when the run closes: made from the step itself and its output `prior`.
    fn at_close(
        &mut self,
        node: &Node,
        spec: &ActionSpec,
        action: &PlannedAction,
        outputs: &BTreeMap<String, String>,
    ) -> Rollback {
        let Reversibility::AtClose(undo) = spec.reversibility else {
            self.fault(
                node.at,
                format!("{} has nothing that could be put back at the close", spec.uses),
                "write another form",
            );
            return Rollback::Nothing;
        };
        if !outputs.contains_key("prior") {
            let hint = "add outputs: { prior: result.prior }";
            self.fault(node.at, "at_close needs to know what was before", hint);
        }
        let known = self.catalogue.find(undo).map_or(&[][..], |undo| undo.params);
        let mut with = serde_json::Map::new();
        for param in known {
            if let Some(value) = action.with.get(param.name) {
                with.insert(param.name.to_owned(), value.clone());
            }
            // What the step did not change is left as it is by then: the record may point elsewhere.
            if let ("only", ParamKind::OneOf([part, ..])) = (param.name, param.kind) {
                with.insert(param.name.to_owned(), json!(part));
            }
        }
        with.insert(
            "to".to_owned(),
            json!(format!("${{ steps.{}.outputs.prior }}", self.step)),
        );
        let action = PlannedAction {
            uses: undo.to_owned(),
            on: action.on.clone(),
            with: Value::Object(with),
            effect: Effect::Mutate,
            timeout: action.timeout,
            dry_run_execute: false,
            declared_read: false,
            live: None,
        };
        Rollback::AtClose { action }
    }
}

fn form_words(form: &str) -> &str {
    match form {
        "uses" => "an action",
        other => other,
    }
}
