//! The DNS records that the steps change: whether they are there, and whether their TTL leaves a short way.

use crate::provider::aws::AwsTarget;
use crate::provider::dns::records::Zone;

use super::Wish;
use super::finding::Finding;

/// Caches give an old answer this long at most in a night that nobody prepared, in seconds.
const SHORT: i64 = 300;

/// Looks at the record of a `dns.*` step.
pub async fn look(wish: &Wish<'_>, wishes: &[Wish<'_>], target: &AwsTarget) -> Vec<Finding> {
    let (Some(zone), Some(record)) = (wish.text("zone"), wish.text("record")) else {
        return Vec::new();
    };
    let zone = match Zone::find(target, zone).await {
        Ok(zone) => zone,
        Err(error) => return vec![Finding::failed(record, "hosted zone", &error)],
    };
    let kind = wish.text("type").unwrap_or("A");
    let sets = match zone.read(record, kind).await {
        Ok(sets) => sets,
        Err(error) => return vec![Finding::failed(record, "record", &error)],
    };
    let Some(set) = sets.first() else {
        let advice = "is it the right zone and type? the old answer has to be there to go back to";
        return vec![Finding::red(
            record,
            "record",
            format!("there is no {kind} record"),
            advice,
        )];
    };
    let mut findings = vec![Finding::green(record, "record", set.words())];
    let lowered = wishes
        .iter()
        .any(|wish| wish.uses == "dns.lower_ttl" && wish.text("record") == Some(record));
    // An alias has none: it takes its target's.
    let Some(ttl) = set.ttl else { return findings };
    findings.push(match ttl {
        ttl if ttl <= SHORT => Finding::green(record, "TTL", format!("{ttl} s")),
        ttl if lowered => Finding::amber(
            record,
            "TTL",
            format!("{ttl} s"),
            "the night lowers it and has to wait that long before the flip: lower it earlier",
        ),
        ttl => Finding::amber(
            record,
            "TTL",
            format!("{ttl} s"),
            "caches would give the old answer that long after the flip: add dns.lower_ttl, well before it",
        ),
    });
    findings
}
