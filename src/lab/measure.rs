//! What the night cost, as the workload saw it: lost writes and downtime.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::cloud::Cloud;
use super::endpoints::Endpoints;
use super::route53::new_share;
use super::seed::open;
use super::workload::notes;
use super::world::LabError;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Writes that the workload was told were committed.
    pub acknowledged: u64,
    /// Of these, the ones that are missing where writes go now.
    pub lost: u64,
    /// The longest time without an acknowledged write that had a refused one in it; real time, not nominal.
    pub downtime: Option<Duration>,
}

/// Measures a lab's folder.
pub fn measure(folder: &Path) -> Result<Measure, LabError> {
    let endpoints = Endpoints::read(folder)?;
    let cloud = Cloud::open(folder, endpoints.speed, &[])?;
    // Where the traffic is shared, the side with more of it.
    let new = new_share(&cloud)? >= 50.0;
    let database = if new { &endpoints.target } else { &endpoints.source };
    let notes = notes(folder)?;
    let acks: Vec<(String, i64)> = notes
        .prepare("select key, t_ms from acks order by t_ms, key")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let refusals: Vec<i64> = notes
        .prepare("select t_ms from refusals order by t_ms")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let there: BTreeSet<String> = open(database)?
        .prepare("select key from orders where writer = 'app'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let lost = acks.iter().filter(|(key, _)| !there.contains(key)).count();
    let longest = acks
        .iter()
        .zip(acks.iter().skip(1))
        .map(|((_, from), (_, to))| (*from, *to))
        .filter(|(from, to)| refusals.iter().any(|refused| from <= refused && refused <= to))
        .map(|(from, to)| to - from)
        .max();
    Ok(Measure {
        acknowledged: u64::try_from(acks.len()).unwrap_or(u64::MAX),
        lost: u64::try_from(lost).unwrap_or(u64::MAX),
        downtime: longest.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
    })
}
