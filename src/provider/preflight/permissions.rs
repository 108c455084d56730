//! Whether an account's policies would let us do what the steps' actions call (`iam:SimulatePrincipalPolicy`). The APIs of
//! RDS, DMS and Route 53 have no dry run of their own. A simulation takes one resource at a time and knows the conditions
//! of a real call in part: what no policy names, and what hangs on such conditions, is worth a look, not a no. Policies of
//! an organization that have conditions may be judged wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::aws::AwsTarget;
use crate::provider::aws::query::{Service, ask};

use super::Wish;
use super::calls::calls;
use super::finding::Finding;

const PROBE: &str = "permissions";
/// How long all of it may take: it is one of several looks at a connection.
const LONGEST: Duration = Duration::from_secs(25);

#[derive(Debug, Deserialize)]
struct Simulated {
    #[serde(rename = "SimulatePrincipalPolicyResult")]
    result: Evaluated,
}

#[derive(Debug, Deserialize)]
struct Evaluated {
    #[serde(rename = "EvaluationResults")]
    results: Members,
}

#[derive(Debug, Deserialize)]
struct Members {
    #[serde(rename = "member", default)]
    members: Vec<Evaluation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Evaluation {
    eval_action_name: String,
    eval_decision: String,
    #[serde(default)]
    missing_context_values: Texts,
}

#[derive(Debug, Default, Deserialize)]
struct Texts {
    #[serde(rename = "member", default)]
    members: Vec<String>,
}

impl Evaluation {
    /// Keys that conditions ask for and that the simulation was not given.
    fn missing(&self) -> &[String] {
        &self.missing_context_values.members
    }
}

#[derive(Debug, Deserialize)]
struct Got {
    #[serde(rename = "GetRoleResult")]
    result: Role,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    role: Named,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    arn: String,
}

/// What would be called, by the resource that it is called on.
fn by_resource(wishes: &[&Wish<'_>], target: &AwsTarget, partition: &str) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut all: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for (call, on) in wishes.iter().flat_map(|wish| calls(wish, target, partition)) {
        all.entry(on).or_default().insert(call);
    }
    all
}

/// Whose policies are asked; a session of a role is asked as its role.
async fn principal(target: &AwsTarget, caller: &str) -> Result<String, String> {
    let mut parts = caller.splitn(6, ':');
    let partition = parts.nth(1).unwrap_or("aws");
    let (account, name) = (parts.nth(2).unwrap_or_default(), parts.next().unwrap_or_default());
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["assumed-role", role, ..] => {
            let parameters = [("RoleName".to_owned(), (*role).to_owned())];
            // A role may have a path, which its session does not tell.
            match ask::<Got>(target, Service::Iam, "GetRole", &parameters).await {
                Ok(found) => Ok(found.body.result.role.arn),
                Err(error) if error.kind == ActionErrorKind::Transient => Err(error.message),
                Err(_not_allowed) => Ok(format!("arn:{partition}:iam::{account}:role/{role}")),
            }
        }
        ["user", ..] => Ok(caller.to_owned()),
        _ => Err(format!("{caller} has no policies that could be asked")),
    }
}

/// What policies say to a call.
#[derive(Default)]
struct Said {
    allowed: usize,
    denied: Vec<String>,
    /// No policy names it.
    unnamed: Vec<String>,
    /// It hangs on conditions that a simulation cannot know.
    conditional: Vec<String>,
    unasked: Option<String>,
}

/// Looks at what all steps of a connection call.
pub async fn look(name: &str, target: &AwsTarget, caller: &str, wishes: &[&Wish<'_>]) -> Vec<Finding> {
    let partition = caller.split(':').nth(1).unwrap_or("aws");
    let all = by_resource(wishes, target, partition);
    if all.is_empty() {
        return Vec::new();
    }
    let mut said = Said::default();
    // Whoever may not reach IAM loses nothing but this.
    let asking = tokio::time::timeout(LONGEST, simulate_all(target, caller, &all, &mut said)).await;
    if asking.is_err() {
        said.unasked = Some(format!("IAM did not answer within {} s", LONGEST.as_secs()));
    }
    findings(name, said)
}

fn findings(name: &str, said: Said) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !said.denied.is_empty() {
        let advice = "a policy says no: have it changed, or take another identity";
        let seen = format!("denied: {}", said.denied.join(", "));
        findings.push(Finding::red(name, PROBE, seen, advice));
    }
    if !said.unnamed.is_empty() {
        let advice = "no policy says yes to it here: have it allowed, or prove it in a rehearsal";
        let seen = format!("not allowed: {}", said.unnamed.join(", "));
        findings.push(Finding::amber(name, PROBE, seen, advice));
    }
    if !said.conditional.is_empty() {
        let advice = "prove it in a rehearsal with the same identity";
        let seen = format!("it depends on conditions: {}", said.conditional.join(", "));
        findings.push(Finding::amber(name, PROBE, seen, advice));
    }
    if let Some(why) = said.unasked {
        let advice = "allow iam:SimulatePrincipalPolicy, or prove in a rehearsal that every call is allowed";
        let seen = format!("they could not be asked: {why}");
        findings.push(Finding::amber(name, PROBE, seen, advice));
    }
    if findings.is_empty() {
        let seen = format!("{} calls simulated, all allowed", said.allowed);
        findings.push(Finding::green(name, PROBE, seen));
    }
    findings
}

async fn simulate_all(
    target: &AwsTarget,
    caller: &str,
    all: &BTreeMap<String, BTreeSet<&'static str>>,
    said: &mut Said,
) {
    let who = match principal(target, caller).await {
        Ok(who) => who,
        Err(why) => {
            said.unasked = Some(why);
            return;
        }
    };
    for (resource, actions) in all {
        let found = match simulate(target, &who, resource, actions).await {
            Ok(found) => found,
            // What another resource was told stands.
            Err(error) => {
                said.unasked.get_or_insert(error.message);
                continue;
            }
        };
        for action in actions {
            let words = format!("{action} on {resource}");
            let Some(evaluation) = found.iter().find(|evaluation| evaluation.eval_action_name == *action) else {
                said.unnamed.push(words);
                continue;
            };
            let missing = evaluation.missing();
            match evaluation.eval_decision.as_str() {
                "allowed" => said.allowed += 1,
                _ if !missing.is_empty() => said.conditional.push(format!("{words} ({})", missing.join(", "))),
                "explicitDeny" => said.denied.push(words),
                _ => said.unnamed.push(words),
            }
        }
    }
}

async fn simulate(
    target: &AwsTarget,
    who: &str,
    resource: &str,
    actions: &BTreeSet<&'static str>,
) -> Result<Vec<Evaluation>, ActionError> {
    let mut parameters: Vec<(String, String)> = [
        ("PolicySourceArn", who),
        ("MaxItems", "1000"),
        ("ResourceArns.member.1", resource),
        // Policies often bound the region; the call would come with it.
        ("ContextEntries.member.1.ContextKeyName", "aws:RequestedRegion"),
        ("ContextEntries.member.1.ContextKeyType", "string"),
        ("ContextEntries.member.1.ContextKeyValues.member.1", &target.region),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    for (index, action) in actions.iter().enumerate() {
        parameters.push((format!("ActionNames.member.{}", index + 1), (*action).to_owned()));
    }
    let answer: Simulated = ask(target, Service::Iam, "SimulatePrincipalPolicy", &parameters)
        .await?
        .body;
    Ok(answer.result.results.members)
}
