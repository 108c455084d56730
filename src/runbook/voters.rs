//! Whether the people of an environment can fill its gates: a gate that nobody can open is found out now, not in the
//! middle of the night. Only warns: people may still be named before the run. Says nothing about the lab, where every
//! role has a persona.

use std::collections::BTreeSet;

use super::builder::Builder;
use super::fault::nearest;
use super::node::{Node, NodeValue};
use super::plan::{EnvironmentKind, GateKind, Person};

impl Builder<'_> {
    /// Warns where a quorum or a poll asks for more than the people of the environment can give; `node` is what
    /// declares it.
    pub(super) fn can_be_filled(&mut self, node: &Node, kind: &GateKind) {
        if self.kind == EnvironmentKind::Lab {
            return;
        }
        match kind {
            GateKind::Quorum {
                roles,
                min,
                org,
                distinct_from,
            } => {
                let unheld = self.unheld(node, roles, |_role| false);
                let voters = self.voters(roles, org.as_deref(), distinct_from);
                let needed = usize::try_from(*min).unwrap_or(usize::MAX);
                // Where no role is held, that is said already.
                if self.most(&voters, distinct_from) >= needed || unheld == roles.len() {
                    return;
                }
                let at = node.get("min").map_or(node.at, |min| min.at);
                let persons = if needed == 1 {
                    "1 person"
                } else {
                    &format!("{needed} persons")
                };
                let of = org.as_ref().map_or_else(String::new, |org| format!(" of {org}"));
                let given = self.given(&voters, distinct_from);
                let message = format!(
                    "this gate cannot be filled: it needs {persons}{of} as {}, and {given}",
                    roles.join(" or ")
                );
                self.warn(
                    at,
                    message,
                    "give the role to more people: of this environment, or ask for fewer",
                );
            }
            GateKind::Poll {
                roles,
                quorum,
                deputies,
                ..
            } => {
                let deputised = |role: &str| deputies.get(role).is_some_and(|persons| !persons.is_empty());
                let unheld = self.unheld(node, roles, deputised);
                let needed = usize::try_from(*quorum).unwrap_or(usize::MAX);
                let mut persons = self.voters(roles, None, &[]);
                persons.extend(deputies.values().flatten().cloned());
                let answers = persons.len().min(roles.len().saturating_sub(unheld));
                if answers >= needed || unheld == roles.len() {
                    return;
                }
                let at = node.get("quorum").map_or(node.at, |quorum| quorum.at);
                let message = format!(
                    "this poll cannot be decided: {needed} roles have to say go, and {answers} can be answered for \
                     (nobody answers for two)"
                );
                self.warn(at, message, "name deputies, give the roles to people, or ask for fewer");
            }
            GateKind::Operator | GateKind::Open { .. } => {}
        }
    }

    /// Warns of each role that nobody holds; how many those are.
    fn unheld(&mut self, node: &Node, roles: &[String], otherwise: impl Fn(&str) -> bool) -> usize {
        let mut unheld = 0;
        let held: BTreeSet<String> = self.roster.values().flat_map(|person| person.roles.clone()).collect();
        for (index, role) in roles.iter().enumerate() {
            if held.contains(role) || otherwise(role) {
                continue;
            }
            unheld += 1;
            let at = match node.get("roles") {
                Some(list) => match &list.value {
                    NodeValue::List(items) => items.get(index).map_or(list.at, |item| item.at),
                    NodeValue::Null
                    | NodeValue::Bool(_)
                    | NodeValue::Int(_)
                    | NodeValue::Float(_)
                    | NodeValue::Text { .. }
                    | NodeValue::Map(_) => list.at,
                },
                None => node.at,
            };
            let hint = nearest(role, held.iter().map(String::as_str))
                .unwrap_or_else(|| format!("give it to somebody: people: {{ ana: {{ roles: [{role}] }} }}"));
            self.warn(at, format!("nobody in this environment holds the role {role}"), &hint);
        }
        unheld
    }

    /// The persons whose votes would count, whoever operates.
    fn voters(&self, roles: &[String], org: Option<&str>, distinct_from: &[String]) -> BTreeSet<String> {
        let fits = |person: &Person| {
            person.roles.iter().any(|role| roles.contains(role))
                && org.is_none_or(|org| person.org.as_deref() == Some(org))
        };
        let barred = |id: &String| {
            let author = self.author.as_ref() == Some(id) && distinct_from.iter().any(|who| who == "author");
            author || distinct_from.contains(id)
        };
        let everybody = self.roster.iter();
        let fitting = everybody.filter(|(id, person)| fits(person) && !barred(id));
        fitting.map(|(id, _)| id.clone()).collect()
    }

    /// How many of them can vote at most: where the operator may not, somebody else has to operate.
    fn most(&self, voters: &BTreeSet<String>, distinct_from: &[String]) -> usize {
        let others = self.roster.keys().any(|id| !voters.contains(id));
        let lost = !others && distinct_from.iter().any(|who| who == "operator");
        voters.len() - usize::from(lost && !voters.is_empty())
    }

    fn given(&self, voters: &BTreeSet<String>, distinct_from: &[String]) -> String {
        let names = voters.iter().cloned().collect::<Vec<_>>().join(", ");
        let given = match voters.len() {
            0 => "nobody fits".to_owned(),
            1 => format!("only {names} fits"),
            _ => format!("only {names} fit"),
        };
        if self.most(voters, distinct_from) < voters.len() {
            format!("{given}, of whom one has to operate")
        } else {
            given
        }
    }
}
