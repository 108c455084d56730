//! RDS as far as it is called (API 2014-10-31), and STS's `GetCallerIdentity`.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::cloud::{Cloud, SNAPSHOT, now_ms};
use super::endpoints::ACCOUNT;
use super::fault::Fault;
use super::world::LabError;
use super::xml::{Answer, leaf, query, refusal};

const NAMESPACE: &str = "http://rds.amazonaws.com/doc/2014-10-31/";
const INSTANCES: &[&str] = &["lab-source", "lab-target"];

/// Answers an operation.
pub fn answer(cloud: &Cloud, operation: &str, form: &BTreeMap<String, String>) -> Result<Answer, LabError> {
    let param = |key: &str| form.get(key).map(String::as_str);
    match operation {
        "DescribeDBInstances" => Ok(instances(param("DBInstanceIdentifier"))),
        "CreateDBSnapshot" => create(cloud, form),
        "DescribeDBSnapshots" => snapshots(cloud, param("DBSnapshotIdentifier"), param("DBInstanceIdentifier")),
        "ListTagsForResource" => tags(cloud, param("ResourceName").unwrap_or_default()),
        "GetCallerIdentity" => {
            let result = format!(
                "{}{}{}",
                leaf("Arn", format!("arn:aws:iam::{ACCOUNT}:user/lab")),
                leaf("UserId", "AIDALAB"),
                leaf("Account", ACCOUNT)
            );
            Ok(query(
                operation,
                "https://sts.amazonaws.com/doc/2011-06-15/",
                &result,
                false,
            ))
        }
        other => Ok(refusal(
            400,
            "InvalidAction",
            &format!("The lab does not know the action {other}"),
        )),
    }
}

fn instances(wanted: Option<&str>) -> Answer {
    if let Some(name) = wanted.filter(|name| !INSTANCES.contains(name)) {
        return refusal(404, "DBInstanceNotFound", &format!("DBInstance {name} not found."));
    }
    let items: String = INSTANCES
        .iter()
        .filter(|name| wanted.is_none_or(|wanted| wanted == **name))
        .map(|name| {
            format!(
                "<DBInstance>{}{}{}{}{}{}</DBInstance>",
                leaf("DBInstanceIdentifier", name),
                leaf("DBInstanceClass", "db.t4g.medium"),
                leaf("Engine", "mysql"),
                leaf("DBInstanceStatus", "available"),
                leaf("AllocatedStorage", "20"),
                leaf("MultiAZ", "false"),
            )
        })
        .collect();
    query(
        "DescribeDBInstances",
        NAMESPACE,
        &format!("<DBInstances>{items}</DBInstances>"),
        false,
    )
}

fn create(cloud: &Cloud, form: &BTreeMap<String, String>) -> Result<Answer, LabError> {
    let name = form.get("DBSnapshotIdentifier").cloned().unwrap_or_default();
    let instance = form.get("DBInstanceIdentifier").cloned().unwrap_or_default();
    if !INSTANCES.contains(&instance.as_str()) {
        return Ok(refusal(
            404,
            "DBInstanceNotFound",
            &format!("DBInstance {instance} not found."),
        ));
    }
    let good = name.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && name.len() <= 255
        && name.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '-')
        && !name.contains("--")
        && !name.ends_with('-');
    if !good {
        let words = "The parameter DBSnapshotIdentifier is not a valid identifier. It must begin with a letter.";
        return Ok(refusal(400, "InvalidParameterValue", words));
    }
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for index in 1..=50 {
        if let Some(key) = form.get(&format!("Tags.Tag.{index}.Key")) {
            let value = form
                .get(&format!("Tags.Tag.{index}.Value"))
                .cloned()
                .unwrap_or_default();
            tags.insert(key.clone(), value);
        }
    }
    let tags = serde_json::to_string(&tags)?;
    let made = cloud.with(|db| {
        let sql = "insert or ignore into snapshots values (?, ?, ?, ?)";
        Ok(db.execute(sql, (&name, &instance, &tags, now_ms()))? > 0)
    })?;
    if !made {
        let words = format!("Cannot create the snapshot because a snapshot with the identifier {name} already exists.");
        return Ok(refusal(400, "DBSnapshotAlreadyExists", &words));
    }
    let one = find(cloud, &name)?.unwrap_or_default();
    Ok(query("CreateDBSnapshot", NAMESPACE, &one, true))
}

fn find(cloud: &Cloud, name: &str) -> Result<Option<String>, LabError> {
    let row: Option<(String, String, i64)> = cloud.with(|db| {
        Ok(db
            .query_row(
                "select instance, tags, created_ms from snapshots where name = ?",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?)
    })?;
    let Some((instance, tags, created)) = row else {
        return Ok(None);
    };
    let mut share = cloud.share(created, SNAPSHOT);
    if cloud.has(Fault::SnapshotStalls) {
        share = share.min(0.4);
    }
    let status = if share >= 1.0 { "available" } else { "creating" };
    let tags: BTreeMap<String, String> = serde_json::from_str(&tags)?;
    let listed: String = tags
        .iter()
        .map(|(key, value)| format!("<Tag>{}{}</Tag>", leaf("Key", key), leaf("Value", value)))
        .collect();
    let when = chrono::DateTime::from_timestamp_millis(created).unwrap_or_default();
    Ok(Some(format!(
        "<DBSnapshot>{}{}{}{}{}{}{}<TagList>{listed}</TagList></DBSnapshot>",
        leaf("DBSnapshotIdentifier", name),
        leaf("DBInstanceIdentifier", &instance),
        leaf(
            "SnapshotCreateTime",
            when.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        ),
        leaf("Engine", "mysql"),
        leaf("Status", status),
        leaf("PercentProgress", format!("{:.0}", share * 100.0)),
        leaf("SnapshotType", "manual"),
    )))
}

fn snapshots(cloud: &Cloud, name: Option<&str>, instance: Option<&str>) -> Result<Answer, LabError> {
    let names: Vec<String> = cloud.with(|db| {
        let mut statement = db.prepare("select name from snapshots where ?1 is null or instance = ?1 order by name")?;
        let rows = statement.query_map([instance], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })?;
    if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
        return Ok(refusal(
            404,
            "DBSnapshotNotFound",
            &format!("DBSnapshot {name} not found."),
        ));
    }
    let mut items = String::new();
    for known in names
        .iter()
        .filter(|known| name.is_none_or(|name| name == known.as_str()))
    {
        items.push_str(&find(cloud, known)?.unwrap_or_default());
    }
    Ok(query(
        "DescribeDBSnapshots",
        NAMESPACE,
        &format!("<DBSnapshots>{items}</DBSnapshots>"),
        false,
    ))
}

fn tags(cloud: &Cloud, arn: &str) -> Result<Answer, LabError> {
    let name = arn.rsplit(':').next().unwrap_or_default();
    let Some(snapshot) = find(cloud, name)? else {
        return Ok(refusal(
            404,
            "DBSnapshotNotFound",
            &format!("DBSnapshot {name} not found."),
        ));
    };
    let start = snapshot.find("<TagList>").unwrap_or(0);
    let list = snapshot
        .get(start..)
        .and_then(|rest| rest.strip_suffix("</DBSnapshot>"))
        .unwrap_or_default();
    Ok(query("ListTagsForResource", NAMESPACE, list, false))
}
