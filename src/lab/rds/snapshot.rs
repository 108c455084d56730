//! Snapshots of instances and clusters.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use crate::lab::cloud::{Cloud, SNAPSHOT, now_ms};
use crate::lab::fault::Fault;
use crate::lab::world::LabError;
use crate::lab::xml::{Answer, leaf, query, refusal};

use super::store::{NAMESPACE, arn, is_name};
use super::{cluster, instance};

type Form = BTreeMap<String, String>;

/// Which snapshots: their words in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Instance,
    Cluster,
}

impl Of {
    /// `DBSnapshot` or `DBClusterSnapshot`.
    const fn element(self) -> &'static str {
        match self {
            Self::Instance => "DBSnapshot",
            Self::Cluster => "DBClusterSnapshot",
        }
    }

    /// `DBInstance` or `DBCluster`.
    const fn subject(self) -> &'static str {
        match self {
            Self::Instance => "DBInstance",
            Self::Cluster => "DBCluster",
        }
    }

    /// What its name is kept under: a cluster's snapshot may have the name of an instance's.
    fn kept(self, name: &str) -> String {
        match self {
            Self::Instance => name.to_owned(),
            Self::Cluster => format!("cluster:{name}"),
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Instance => "snapshot",
            Self::Cluster => "cluster-snapshot",
        }
    }

    const fn engine(self) -> &'static str {
        match self {
            Self::Instance => instance::ENGINE,
            Self::Cluster => cluster::ENGINE,
        }
    }

    fn refused(self, status: u16, what: &str, words: &str) -> Answer {
        let fault = match self {
            Self::Instance => "",
            Self::Cluster => "Fault",
        };
        refusal(status, &format!("{}{what}{fault}", self.element()), words)
    }
}

/// Tags of a request.
pub fn tags(form: &Form) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for index in 1..=50 {
        if let Some(key) = form.get(&format!("Tags.Tag.{index}.Key")) {
            let value = form.get(&format!("Tags.Tag.{index}.Value"));
            tags.insert(key.clone(), value.cloned().unwrap_or_default());
        }
    }
    tags
}

/// Tags of an answer.
pub fn tag_list(tags: &BTreeMap<String, String>) -> String {
    let listed: String = tags
        .iter()
        .map(|(key, value)| format!("<Tag>{}{}</Tag>", leaf("Key", key), leaf("Value", value)))
        .collect();
    format!("<TagList>{listed}</TagList>")
}

/// The refusal of an instance's snapshot that is not there.
pub fn not_found(name: &str) -> Answer {
    Of::Instance.refused(404, "NotFound", &format!("DBSnapshot {name} not found."))
}

/// `CreateDBSnapshot` and `CreateDBClusterSnapshot`.
pub fn create(cloud: &Cloud, of: Of, form: &Form) -> Result<Answer, LabError> {
    let param = |kind: &str| form.get(&format!("{kind}Identifier")).cloned().unwrap_or_default();
    let (name, subject) = (param(of.element()), param(of.subject()));
    let status = match of {
        Of::Instance => instance::status(cloud, &subject)?,
        Of::Cluster => cluster::status(cloud, &subject)?,
    };
    match (of, status) {
        (_, Some("available")) => {}
        (Of::Instance, None) => return Ok(instance::not_found(&subject)),
        (Of::Cluster, None) => return Ok(cluster::not_found(&subject)),
        (_, Some(_)) => {
            let words = format!("Cannot create a snapshot because {subject} is not currently in the available state.");
            let code = match of {
                Of::Instance => "InvalidDBInstanceState",
                Of::Cluster => "InvalidDBClusterStateFault",
            };
            return Ok(refusal(400, code, &words));
        }
    }
    if !is_name(&name) {
        let words = format!(
            "The parameter {}Identifier is not a valid identifier. It must begin with a letter.",
            of.element()
        );
        return Ok(refusal(400, "InvalidParameterValue", &words));
    }
    let tags = serde_json::to_string(&tags(form))?;
    let kept = of.kept(&name);
    let made = cloud.with(|db| {
        let sql = "insert or ignore into snapshots values (?, ?, ?, ?)";
        Ok(db.execute(sql, (&kept, &subject, &tags, now_ms()))? > 0)
    })?;
    if !made {
        let words = format!("Cannot create the snapshot because a snapshot with the identifier {name} already exists.");
        return Ok(of.refused(400, "AlreadyExists", &words));
    }
    let one = find(cloud, of, &name)?.unwrap_or_default();
    Ok(query(&format!("Create{}", of.element()), NAMESPACE, &one, true))
}

fn share(cloud: &Cloud, created: i64) -> f64 {
    let share = cloud.share(created, SNAPSHOT);
    if cloud.has(Fault::SnapshotStalls) {
        share.min(0.4)
    } else {
        share
    }
}

const fn word(share: f64) -> &'static str {
    if share >= 1.0 { "available" } else { "creating" }
}

/// The state of an instance's snapshot; nothing where there is none.
pub fn status(cloud: &Cloud, name: &str) -> Result<Option<&'static str>, LabError> {
    let created: Option<i64> = cloud.with(|db| {
        let sql = "select created_ms from snapshots where name = ?";
        Ok(db.query_row(sql, [name], |row| row.get(0)).optional()?)
    })?;
    Ok(created.map(|created| word(share(cloud, created))))
}

fn find(cloud: &Cloud, of: Of, name: &str) -> Result<Option<String>, LabError> {
    let kept = of.kept(name);
    let row: Option<(String, String, i64)> = cloud.with(|db| {
        let sql = "select instance, tags, created_ms from snapshots where name = ?";
        let read = db.query_row(sql, [&kept], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        Ok(read.optional()?)
    })?;
    let Some((subject, tags, created)) = row else {
        return Ok(None);
    };
    let share = share(cloud, created);
    let tags: BTreeMap<String, String> = serde_json::from_str(&tags)?;
    let when = chrono::DateTime::from_timestamp_millis(created).unwrap_or_default();
    let element = of.element();
    Ok(Some(format!(
        "<{element}>{}{}{}{}{}{}{}{}{}{}</{element}>",
        leaf(&format!("{element}Identifier"), name),
        leaf(&format!("{element}Arn"), arn(of.kind(), name)),
        leaf(&format!("{}Identifier", of.subject()), &subject),
        leaf(
            "SnapshotCreateTime",
            when.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        ),
        leaf("Engine", of.engine()),
        leaf("AllocatedStorage", instance::STORAGE),
        leaf("Status", word(share)),
        leaf("PercentProgress", format!("{:.0}", share * 100.0)),
        leaf("SnapshotType", "manual"),
        tag_list(&tags),
    )))
}

/// `DescribeDBSnapshots` and `DescribeDBClusterSnapshots`.
pub fn describe(cloud: &Cloud, of: Of, form: &Form) -> Result<Answer, LabError> {
    let name = form.get(&format!("{}Identifier", of.element()));
    let subject = form.get(&format!("{}Identifier", of.subject()));
    let names: Vec<String> = cloud.with(|db| {
        let mut statement = db.prepare("select name from snapshots where ?1 is null or instance = ?1 order by name")?;
        let rows = statement.query_map([subject], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })?;
    let of_this = names
        .iter()
        .filter_map(|kept| match (of, kept.strip_prefix("cluster:")) {
            (Of::Cluster, name) => name,
            (Of::Instance, None) => Some(kept.as_str()),
            (Of::Instance, Some(_)) => None,
        });
    let mut items = String::new();
    for known in of_this.filter(|known| name.is_none_or(|name| name == known)) {
        items.push_str(&find(cloud, of, known)?.unwrap_or_default());
    }
    if let (Some(name), true) = (name, items.is_empty()) {
        return Ok(of.refused(404, "NotFound", &format!("{} {name} not found.", of.element())));
    }
    let element = of.element();
    let body = format!("<{element}s>{items}</{element}s>");
    Ok(query(&format!("Describe{element}s"), NAMESPACE, &body, false))
}

/// How many manual snapshots an account may keep, as AWS's default is.
const MOST: usize = 100;

/// `DescribeAccountAttributes`, of it the quota of manual snapshots.
pub fn quotas(cloud: &Cloud) -> Result<Answer, LabError> {
    let used: i64 = cloud.with(|db| Ok(db.query_row("select count(*) from snapshots", [], |row| row.get(0))?))?;
    let quota = format!(
        "<AccountQuota>{}{}{}</AccountQuota>",
        leaf("AccountQuotaName", "ManualSnapshots"),
        leaf("Used", used.to_string()),
        leaf("Max", MOST.to_string()),
    );
    let body = format!("<AccountQuotas>{quota}</AccountQuotas>");
    Ok(query("DescribeAccountAttributes", NAMESPACE, &body, false))
}

/// `ListTagsForResource`, of an instance's snapshot.
pub fn tags_of(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    let arn = form.get("ResourceName").map_or("", String::as_str);
    let name = arn.rsplit(':').next().unwrap_or_default();
    let Some(snapshot) = find(cloud, Of::Instance, name)? else {
        return Ok(not_found(name));
    };
    let start = snapshot.find("<TagList>").unwrap_or(0);
    let list = snapshot
        .get(start..)
        .and_then(|rest| rest.strip_suffix("</DBSnapshot>"))
        .unwrap_or_default();
    Ok(query("ListTagsForResource", NAMESPACE, list, false))
}
