//! Databases on servers before the night: whether they let us in, as what, and how their clocks stand.

use crate::provider::sql::postgres;
use crate::provider::sql::server::{Engine, Protection, ServerTarget};

use super::finding::Finding;

/// More than this between two clocks makes times in records hard to compare, in seconds.
const APART: f64 = 5.0;

/// Opens a session of reads, and asks the server about itself.
pub async fn look(name: &str, target: &ServerTarget) -> Vec<Finding> {
    let about = match target.engine {
        Engine::Postgres => async { postgres::reader(target).await?.about().await }.await,
        Engine::Mysql | Engine::Sqlserver => {
            let advice = "look at it by hand";
            return vec![Finding::amber(name, "opens", "not looked at yet", advice)];
        }
    };
    let about = match about {
        Ok(about) => about,
        Err(error) => return vec![Finding::failed(name, "opens", &error)],
    };
    let role = if about.replica { ", a replica" } else { "" };
    let seen = format!("{target}, version {}{role}", about.version);
    let mut findings = vec![Finding::green(name, "opens", seen)];
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
