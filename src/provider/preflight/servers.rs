//! Databases on servers before the night: whether they let us in, as what, and how their clocks stand.

use crate::provider::sql::about::About;
use crate::provider::sql::database::Reader;
use crate::provider::sql::server::{Protection, ServerTarget};

use super::finding::Finding;

/// More than this between two clocks makes times in records hard to compare, in seconds.
const APART: f64 = 5.0;

/// Further behind than this, a replica is not what a night should begin with, in seconds.
const BEHIND: f64 = 60.0;

/// Opens a session of reads, and asks the server about itself.
pub async fn look(name: &str, target: &ServerTarget) -> Vec<Finding> {
    let about = async { Reader::open(target).await?.about().await }.await;
    let about = match about {
        Ok(about) => about,
        Err(error) => return vec![Finding::failed(name, "opens", &error)],
    };
    let mut findings = vec![Finding::green(name, "opens", format!("{target}: {}", about.words()))];
    findings.extend(replication(name, &about));
    findings.push(match target.protection {
        Protection::Verified { .. } => Finding::green(name, "TLS", "chain and name verified"),
        Protection::Unverified => Finding::amber(
            name,
            "TLS",
            "nobody's name is verified",
            "whoever stands between can read and change everything: take tls: unverified out, and name the server's CA under ca:",
        ),
        Protection::Off => Finding::amber(
            name,
            "TLS",
            "off",
            "passwords and rows can be read on the way: take tls: off out, and name the server's CA under ca:",
        ),
    });
    let apart = format!("{:.1} s from ours", about.ahead_s);
    findings.push(if about.ahead_s.abs() <= APART {
        Finding::green(name, "clock", apart)
    } else {
        let advice = "keep both clocks by NTP, or read times of this database with care";
        Finding::amber(name, "clock", apart, advice)
    });
    findings
}

/// How a replica stands; nothing where the server is none.
fn replication(name: &str, about: &About) -> Option<Finding> {
    let finding = match (about.replica, about.behind_s) {
        (Some(false), _) => return None,
        (None, _) => Finding::amber(
            name,
            "replication",
            "may not be asked",
            "grant the user the right to ask (MySQL: REPLICATION CLIENT, MariaDB: REPLICA MONITOR), or look at it by hand",
        ),
        (Some(true), None) => Finding::amber(
            name,
            "replication",
            "a replica that does not say how far it is behind",
            "it may have stopped: look at its replication",
        ),
        (Some(true), Some(behind)) if behind > BEHIND => {
            let seen = format!("a replica, {behind:.0} s behind");
            Finding::amber(name, "replication", seen, "let it catch up before the night begins")
        }
        (Some(true), Some(behind)) => Finding::green(name, "replication", format!("a replica, {behind:.0} s behind")),
    };
    Some(finding)
}
