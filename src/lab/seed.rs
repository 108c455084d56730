//! The two databases: a small ERP, seeded the same way every time.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::world::LabError;

const SCHEMA: &str = "
    create table if not exists customers(key text primary key, name text not null, city text not null);
    create table if not exists orders(
        key text primary key, customer text not null, amount integer not null,
        writer text not null, created_at text not null);
    create table if not exists ledger(
        key text primary key, order_key text not null, amount integer not null, created_at text not null);
    create table if not exists pointsman_fence(token text primary key, written_at text);
    create table if not exists pointsman_marker(
        key text primary key, run text, step text, attempt integer, applied_at text);
    create table if not exists lab_ledger(
        id integer primary key, t text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), tbl text, op text, key text);
    create table if not exists lab_position(tbl text primary key, last integer not null);
    create trigger if not exists lab_marker after insert on pointsman_marker
        begin insert into lab_ledger(tbl, op, key) values ('pointsman_marker', 'insert', new.key); end;
    create trigger if not exists lab_fence after insert on pointsman_fence
        begin insert into lab_ledger(tbl, op, key) values ('pointsman_fence', 'insert', new.token); end;";

/// Rows before the night.
pub const CUSTOMERS: i64 = 200;
/// See [`CUSTOMERS`].
pub const ORDERS: i64 = 1_000;
/// See [`CUSTOMERS`].
pub const LEDGER: i64 = 2_000;

/// Opens a database of the lab.
pub fn open(path: &Path) -> Result<Connection, LabError> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    Ok(db)
}

/// Makes a database; the source gets its rows.
pub fn make(path: &Path, filled: bool) -> Result<(), LabError> {
    let mut db = open(path)?;
    db.execute_batch(SCHEMA)?;
    let some: i64 = db.query_row("select count(*) from customers", [], |row| row.get(0))?;
    if !filled || some > 0 {
        return Ok(());
    }
    let cities = ["São Paulo", "Recife", "Curitiba", "Belém", "Porto Alegre"];
    let transaction = db.transaction()?;
    {
        let mut customer = transaction.prepare("insert into customers values (?, ?, ?)")?;
        for (number, city) in (0..CUSTOMERS).zip(cities.iter().cycle()) {
            customer.execute((format!("c{number:04}"), format!("Customer {number}"), city))?;
        }
        let mut order =
            transaction.prepare("insert into orders values (?, ?, ?, 'seed', '2026-01-01T00:00:00.000Z')")?;
        for number in 0..ORDERS {
            order.execute((
                format!("seed-{number:05}"),
                format!("c{:04}", number % CUSTOMERS),
                100 + number * 7 % 900,
            ))?;
        }
        let mut entry = transaction.prepare("insert into ledger values (?, ?, ?, '2026-01-01T00:00:00.000Z')")?;
        for number in 0..LEDGER {
            let amount = if number % 2 == 0 {
                100 + number / 2 * 7 % 900
            } else {
                -(100 + number / 2 * 7 % 900)
            };
            entry.execute((format!("seed-{number:05}"), format!("seed-{:05}", number / 2), amount))?;
        }
    }
    transaction.commit()?;
    Ok(())
}
