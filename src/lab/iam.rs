//! IAM: `SimulatePrincipalPolicy` and `GetRole` in the Query protocol (API version 2010-05-08). The lab's user may do
//! everything, but for what a fault denies.

use std::collections::BTreeMap;

use super::cloud::Cloud;
use super::fault::Fault;
use super::xml::{Answer, leaf, query, refusal};

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// Answers an operation.
pub fn answer(cloud: &Cloud, operation: &str, form: &BTreeMap<String, String>) -> Answer {
    if operation != "SimulatePrincipalPolicy" {
        return refusal(400, "InvalidAction", &format!("The lab does not know {operation}"));
    }
    let mut results = String::new();
    for number in 1.. {
        let Some(action) = form.get(&format!("ActionNames.member.{number}")) else {
            break;
        };
        let denied = action == "route53:ChangeResourceRecordSets" && cloud.has(Fault::DnsDenied);
        let resource = form.get("ResourceArns.member.1").map_or("*", String::as_str);
        results.push_str("<member>");
        results.push_str(&leaf("EvalActionName", action));
        results.push_str(&leaf("EvalResourceName", resource));
        results.push_str(&leaf("EvalDecision", if denied { "explicitDeny" } else { "allowed" }));
        results.push_str("</member>");
    }
    let result = format!("<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>");
    query(operation, NAMESPACE, &result, false)
}
