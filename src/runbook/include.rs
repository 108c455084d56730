//! `include:` at phase level: phases that stand in files beside the runbook are put in their place. Paths are relative
//! to the runbook's folder, in included files too, so that a file has one name. Pure: the caller has read the files.

use super::fault::{Fault, Place};
use super::node::{Key, Node, NodeValue, known_keys};
use super::parse::{LARGEST, parse};
use super::sources::Sources;

/// How deep files may include one another.
const DEEPEST: usize = 4;

/// The files that a runbook, or a file included by one, names in its phases and that may be read. Whatever is wrong
/// with the bytes is told by `check`.
pub fn includes(bytes: &[u8]) -> Vec<String> {
    let Ok(root) = parse(bytes, 0, &mut 0) else {
        return Vec::new();
    };
    let phases = root.get("phases").map(|node| &node.value);
    let Some(NodeValue::List(phases)) = phases else {
        return Vec::new();
    };
    let named = phases.iter().filter_map(|phase| phase.get("include")?.text());
    named
        .filter(|path| refused(path).is_none())
        .map(str::to_owned)
        .collect()
}

/// Why a path cannot be included, if it cannot.
fn refused(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("leaves the runbook's folder");
    }
    // One file has one name: cycles and digests are told by it.
    let plain = path.split('/').all(|part| !part.is_empty() && part != ".");
    (!plain || path.contains('\\') || path.len() > 255).then_some("is no plain path")
}

/// The runbook's tree with every included phase in its place.
pub(super) fn whole(sources: &Sources<'_>) -> Result<Node, Vec<Fault>> {
    let mut nodes = 0;
    let mut root = parse(sources.main, 0, &mut nodes)?;
    let mut including = Including {
        sources,
        nodes,
        faults: Vec::new(),
        open: Vec::new(),
        seen: Vec::new(),
    };
    if sources.size() > LARGEST && !sources.parts.is_empty() {
        including.fault(
            root.at,
            "the runbook and what it includes are larger than 1 MiB together, which is the limit",
            "split the night into several runbooks",
        );
        return Err(including.faults);
    }
    including.phases(&mut root);
    if including.faults.is_empty() {
        Ok(root)
    } else {
        Err(including.faults)
    }
}

struct Including<'a> {
    sources: &'a Sources<'a>,
    nodes: usize,
    faults: Vec<Fault>,
    /// The files that are being included, outermost first.
    open: Vec<String>,
    /// All files that were included.
    seen: Vec<String>,
}

impl Including<'_> {
    fn fault(&mut self, at: Place, message: impl Into<String>, hint: &str) {
        self.faults.push(Fault::new(at, message).hint(hint));
    }

    fn phases(&mut self, root: &mut Node) {
        let NodeValue::Map(entries) = &mut root.value else {
            return;
        };
        let phases = entries.iter_mut().find(|(key, _)| key.text == "phases");
        let Some((_, Node { value, .. })) = phases else { return };
        let NodeValue::List(items) = value else { return };
        let mut whole = Vec::with_capacity(items.len());
        for item in std::mem::take(items) {
            match &item.value {
                NodeValue::Map(fields) if fields.iter().any(|(key, _)| key.text == "include") => {
                    whole.extend(self.included(fields));
                }
                NodeValue::Map(_)
                | NodeValue::Null
                | NodeValue::Bool(_)
                | NodeValue::Int(_)
                | NodeValue::Float(_)
                | NodeValue::Text { .. }
                | NodeValue::List(_) => whole.push(item),
            }
        }
        *items = whole;
    }

    fn included(&mut self, fields: &[(Key, Node)]) -> Vec<Node> {
        known_keys(fields, &["include"], "an included phase", &mut self.faults);
        let Some((_, node)) = fields.iter().find(|(key, _)| key.text == "include") else {
            return Vec::new();
        };
        let Some(path) = node.word("include", &mut self.faults).map(str::to_owned) else {
            return Vec::new();
        };
        let at = node.at;
        if let Some(why) = refused(&path) {
            let hint = "name a file in the runbook's folder: parts/freeze.yaml";
            self.fault(at, format!("the path \"{path}\" {why}"), hint);
            return Vec::new();
        }
        if self.open.contains(&path) {
            let cycle = [self.open.as_slice(), &[path]].concat().join(" → ");
            self.fault(
                at,
                format!("files include each other: {cycle}"),
                "remove one of these includes",
            );
            return Vec::new();
        }
        if self.open.len() >= DEEPEST {
            self.fault(
                at,
                "files include each other deeper than 4 levels",
                "include it from the runbook itself",
            );
            return Vec::new();
        }
        if self.seen.contains(&path) {
            let hint = "its steps would be there twice; use for_each: for steps that repeat";
            self.fault(at, format!("{path} is included twice"), hint);
            return Vec::new();
        }
        self.seen.push(path.clone());
        let bytes = match self.sources.parts.get(path.as_str()) {
            Some(Ok(bytes)) => *bytes,
            Some(Err(refusal)) => {
                self.fault(at, refusal.message.clone(), &refusal.hint);
                return Vec::new();
            }
            None => {
                self.fault(
                    at,
                    format!("{path} was not read"),
                    "a runbook is read with the files that it includes",
                );
                return Vec::new();
            }
        };
        let Some(file) = self.sources.file(&path) else {
            return Vec::new();
        };
        match parse(bytes, file, &mut self.nodes) {
            Ok(root) => {
                self.open.push(path);
                let phases = self.part(root);
                self.open.pop();
                phases
            }
            Err(faults) => {
                self.faults.extend(faults);
                Vec::new()
            }
        }
    }

    /// The phases of an included file.
    fn part(&mut self, mut root: Node) -> Vec<Node> {
        let entries = root.map("an included file", &mut self.faults);
        if entries.is_empty() {
            return Vec::new();
        }
        known_keys(entries, &["version", "phases"], "an included file", &mut self.faults);
        match root.get("version").map(|node| (node.at, &node.value)) {
            None | Some((_, NodeValue::Int(1))) => {}
            Some((at, _)) => self.fault(
                at,
                "this pointsman knows version 1",
                "write version: 1, or leave it out",
            ),
        }
        self.phases(&mut root);
        match root.get("phases").map(|node| (node.at, &node.value)) {
            Some((_, NodeValue::List(phases))) => phases.clone(),
            Some((at, _)) => {
                self.fault(at, "phases must be a list", "write phases: with at least one phase");
                Vec::new()
            }
            None => {
                self.fault(
                    root.at,
                    "the included file has no phases",
                    "write phases: with at least one phase",
                );
                Vec::new()
            }
        }
    }
}
