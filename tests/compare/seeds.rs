//! Random tables with planted differences: every one is found, and none that is not there. POINTSMAN_COMPARE_SEEDS says how
//! many.

use std::collections::BTreeMap;

use pointsman::provider::sql::compare::outcome::{Level, Verdict};
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::compare::work::Hashing;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stage::{Base, Kind, PAIRS, Value, lines, told_by};

/// Seeds of one pairing at a time, and where there are many: most of their time they wait until a write of a moment ago is
/// over, and a server has no more than a hundred sessions.
const LANES: [u64; 2] = [2, 4];
const MANY: u64 = 100;

/// How the rows of a table are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Whole,
    Text,
    Composite,
    None,
}

fn create(kind: Kind, key: Key) -> String {
    let long = if kind == Kind::Sqlite { "integer" } else { "bigint" };
    let key = match key {
        Key::Whole => ", primary key (id)",
        Key::Text => ", primary key (tag)",
        Key::Composite => ", primary key (grp, id)",
        Key::None => "",
    };
    let moment = if kind == Kind::Postgres {
        "timestamp(6)"
    } else {
        "datetime(6)"
    };
    format!(
        "create table t(id {long} not null, grp int not null, tag varchar(40) not null, amount decimal(12,2), moment {moment}, \
         words varchar(60){key})"
    )
}

fn row(random: &mut StdRng, id: i64) -> Vec<Value> {
    let words = ["", " ", "Grüße", "trailing  ", "NULL", "N", "a,b", "3:abc"];
    let maybe = |random: &mut StdRng, value: Value| if random.random_bool(0.2) { Value::Null } else { value };
    let amount = Value::plain(format!(
        "{}.{:02}",
        random.random_range(-9_999..9_999),
        random.random_range(0..100)
    ));
    let moment = Value::Text(format!(
        "20{:02}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        random.random_range(0..40),
        random.random_range(1..13),
        random.random_range(1..29),
        random.random_range(0..24),
        random.random_range(0..60),
        random.random_range(0..60),
        random.random_range(0..1_000_000)
    ));
    let text = Value::text(words[random.random_range(0..words.len())]);
    vec![
        Value::plain(id),
        Value::plain(id.rem_euclid(3)),
        Value::Text(format!("tag-{}-{id}", random.random_range(0..1_000))),
        maybe(random, amount),
        maybe(random, moment),
        maybe(random, text),
    ]
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Plain(text) => text.clone(),
        Value::Null | Value::Bytes(_) => panic!("no key"),
    }
}

fn key(kind: Key, row: &[Value]) -> String {
    match kind {
        Key::Whole => shown(&row[0]),
        Key::Text => shown(&row[2]),
        Key::Composite => format!("{},{}", shown(&row[1]), shown(&row[0])),
        Key::None => panic!("no key"),
    }
}

fn cents(value: &Value, by: i64) -> Option<Value> {
    let Value::Plain(text) = value else { return None };
    let (whole, cents) = text.split_once('.')?;
    let negative = whole.starts_with('-');
    let number = whole.trim_start_matches('-').parse::<i64>().ok()? * 100 + cents.parse::<i64>().ok()?;
    let number = if negative { -number } else { number } + by;
    let sign = if number < 0 { "-" } else { "" };
    Some(Value::plain(format!(
        "{sign}{}.{:02}",
        number.abs() / 100,
        number.abs() % 100
    )))
}

/// Plants differences into a copy of `rows`; gives it with the lines that have to be found.
fn planted(random: &mut StdRng, kind: Key, rows: &[Vec<Value>]) -> (Vec<Vec<Value>>, Vec<String>) {
    let mut target = rows.to_vec();
    let mut changed: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let pick = |random: &mut StdRng, changed: &BTreeMap<usize, Vec<&str>>| {
        (0..50)
            .map(|_| random.random_range(0..rows.len()))
            .find(|at| !changed.contains_key(at))
    };
    for _ in 0..random.random_range(0..4) {
        let (Some(one), Some(other)) = (pick(random, &changed), pick(random, &changed)) else {
            continue;
        };
        match random.random_range(0..5) {
            // A cent.
            0 => {
                if let Some(value) = cents(&rows[one][3], 1) {
                    target[one][3] = value;
                    changed.insert(one, vec!["amount"]);
                }
            }
            // Two errors that cancel in a sum.
            1 if one != other => {
                if let (Some(more), Some(less)) = (cents(&rows[one][3], 7), cents(&rows[other][3], -7)) {
                    target[one][3] = more;
                    target[other][3] = less;
                    changed.insert(one, vec!["amount"]);
                    changed.insert(other, vec!["amount"]);
                }
            }
            // Values of two rows changed places.
            2 if one != other && rows[one][4] != rows[other][4] => {
                target[one][4] = rows[other][4].clone();
                target[other][4] = rows[one][4].clone();
                changed.insert(one, vec!["moment"]);
                changed.insert(other, vec!["moment"]);
            }
            // A NULL in another column.
            3 if rows[one][3] == Value::Null && rows[one][4] != Value::Null => {
                target[one][3] = Value::plain("1.00");
                target[one][4] = Value::Null;
                changed.insert(one, vec!["amount", "moment"]);
            }
            // Empty against NULL, and blanks at the end.
            4 => {
                target[one][5] = match &rows[one][5] {
                    Value::Null => Value::text(""),
                    Value::Text(text) if text.is_empty() => Value::Null,
                    Value::Text(text) => Value::Text(format!("{text} ")),
                    other => other.clone(),
                };
                changed.insert(one, vec!["words"]);
            }
            _ => {}
        }
    }
    let mut expected: Vec<String> = changed
        .iter()
        .filter(|(at, _)| rows[**at] != target[**at])
        .map(|(at, columns)| format!("changed {} {}", key(kind, &rows[*at]), columns.join(",")))
        .collect();
    for _ in 0..random.random_range(0..3) {
        let Some(at) = pick(random, &changed) else { continue };
        // Not one that is gone already.
        if let Some(place) = target.iter().position(|row| row[0] == rows[at][0]) {
            target.remove(place);
            expected.push(format!("missing {}", key(kind, &rows[at])));
        }
    }
    for more in 0..random.random_range(0..3_i64) {
        let id = if random.random_bool(0.5) {
            -1_000_000 - more
        } else {
            1_000_000_000 + more
        };
        let extra = row(random, id);
        expected.push(format!("extra {}", key(kind, &extra)));
        target.push(extra);
    }
    expected.sort();
    (target, expected)
}

#[tokio::test]
async fn what_is_planted_is_found_and_nothing_else() {
    let seeds: u64 = std::env::var("POINTSMAN_COMPARE_SEEDS").map_or(40, |text| text.parse().unwrap());
    let lanes = PAIRS.len() as u64 * LANES[usize::from(seeds > MANY)];
    futures::future::join_all((0..lanes).map(|lane| async move {
        let (one, other) = PAIRS[usize::try_from(lane).unwrap() % PAIRS.len()];
        let (Some(source), Some(target)) = (Base::new(one).await, Base::new(other).await) else {
            return;
        };
        for seed in (0..seeds).filter(|seed| seed % lanes == lane) {
            let mut random = StdRng::seed_from_u64(seed);
            let kind = [Key::Whole, Key::Text, Key::Composite, Key::None][random.random_range(0..4)];
            let hashing = Hashing::ALL[random.random_range(0..3)];
            for base in [&source, &target] {
                base.run("drop table if exists t").await;
                base.run(&create(base.kind(), kind)).await;
            }
            let count = random.random_range(1..400);
            // With gaps, and over zero.
            let mut id = random.random_range(-2_000_i64..2_000);
            let rows: Vec<Vec<Value>> = (0..count)
                .map(|_| {
                    id += if random.random_bool(0.02) {
                        1_000_000
                    } else {
                        random.random_range(1..4)
                    };
                    row(&mut random, id)
                })
                .collect();
            source.insert("t", &rows).await;
            if kind == Key::None {
                keyless(seed, &mut random, hashing, (&source, &target), &rows).await;
                continue;
            }
            let (there, expected) = planted(&mut random, kind, &rows);
            target.insert("t", &there).await;
            let outcome = told_by(&source, &target, vec![Wish::parse("t")], Level::Rows, hashing).await;
            let table = &outcome.tables[0];
            assert_eq!(
                lines(&table.differences),
                expected,
                "seed {seed} {one:?} {other:?} {kind:?} {hashing:?}"
            );
            assert!(
                !table.notes.iter().any(|note| note.contains("read instead")),
                "seed {seed} {one:?} {other:?} {kind:?}: {:?}",
                table.notes
            );
            let verdict = if expected.is_empty() {
                Verdict::Equal
            } else {
                Verdict::Different
            };
            assert_eq!(outcome.verdict(), verdict, "seed {seed}: {}", outcome.json());
            let sums = told_by(&source, &target, vec![Wish::parse("t")], Level::Checksum, Hashing::Here).await;
            assert_eq!(sums.verdict(), verdict, "seed {seed}");
            assert_eq!(sums.tables[0].sums, table.sums, "seed {seed}");
        }
    }))
    .await;
}

/// Without a key a row may be there more than once, and one copy more or less is found.
async fn keyless(
    seed: u64,
    random: &mut StdRng,
    hashing: Hashing,
    (source, target): (&Base, &Base),
    rows: &[Vec<Value>],
) {
    let twice = rows[random.random_range(0..rows.len())].clone();
    source.insert("t", &[twice.clone(), twice]).await;
    target.insert("t", rows).await;
    let outcome = told_by(source, target, vec![Wish::parse("t")], Level::Rows, hashing).await;
    let found = &outcome.tables[0].differences;
    assert_eq!(found.len(), 1, "seed {seed}: {}", outcome.json());
    assert_eq!(
        (found[0].kind.word(), found[0].times),
        ("missing", Some(2)),
        "seed {seed}"
    );
}
