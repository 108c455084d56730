//! Environments of different kinds must not act on the same thing: a rehearsal may never reach production's target.

use super::fault::Fault;
use super::node::{Node, NodeValue};

/// A fault for each pair of environments of different kinds whose connections resolve to one and the same thing.
pub(super) fn faults(root: &Node) -> Vec<Fault> {
    let Some(NodeValue::Map(environments)) = root.get("environments").map(|node| &node.value) else {
        return Vec::new();
    };
    let mut seen: Vec<(String, String, String)> = Vec::new();
    let mut faults = Vec::new();
    for (env, node) in environments {
        let kind = node
            .get("kind")
            .and_then(Node::text)
            .unwrap_or(if env.text == "lab" { "lab" } else { "" });
        if kind == "lab" {
            continue;
        }
        let inherited: Vec<String> = match node
            .get("connections")
            .and_then(|node| node.get("inherit"))
            .map(|n| &n.value)
        {
            Some(NodeValue::List(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            Some(_) | None => Vec::new(),
        };
        for (name, connection, at) in resolved(root, node) {
            // An inherited connection is used read-only.
            if inherited.contains(&name) {
                continue;
            }
            let Some(place) = target(connection) else { continue };
            if let Some((other, _, _)) = seen.iter().find(|(_, other, known)| *known == place && other != kind) {
                let message = format!(
                    "connection {name} of environment {} is the same as in {other}: {place}",
                    env.text
                );
                let hint =
                    "define it anew for this environment, or list it under connections: { inherit: […] } to read only";
                faults.push(Fault::new(at, message).hint(hint));
            }
            seen.push((env.text.clone(), kind.to_owned(), place));
        }
    }
    faults
}

fn resolved<'a>(root: &'a Node, env: &'a Node) -> Vec<(String, &'a Node, super::fault::Place)> {
    let mut all: Vec<(String, &Node, super::fault::Place)> = Vec::new();
    for source in [root.get("connections"), env.get("connections")].into_iter().flatten() {
        let NodeValue::Map(entries) = &source.value else {
            continue;
        };
        for (key, node) in entries.iter().filter(|(key, _)| key.text != "inherit") {
            all.retain(|(name, _, _)| *name != key.text);
            all.push((key.text.clone(), node, key.at));
        }
    }
    all
}

fn target(connection: &Node) -> Option<String> {
    let text = |key: &str| {
        connection
            .get(key)
            .map(|node| node.json().to_string().trim_matches('"').to_owned())
    };
    match connection.get("uses").and_then(Node::text)? {
        "aws" => Some(format!("account {} region {}", text("account")?, text("region")?)),
        "sqlite" => Some(format!("file {}", text("path")?)),
        "mysql" | "postgres" | "sqlserver" => Some(format!(
            "{}/{}",
            text("host")?.to_lowercase(),
            text("database").unwrap_or_default()
        )),
        "ssh" => Some(format!("host {}", text("host")?.to_lowercase())),
        _ => None,
    }
}
