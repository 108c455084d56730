//! What a backup takes, on every engine, and which engines make one. Each has a name of the change's own, so that nothing is
//! ever written over and what became of it is found by its name. Must not know any engine's statements.

use serde::Deserialize;

use crate::provider::Action;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use crate::provider::sql::database::Database;
use crate::provider::sql::server::Engine;

use super::sqlite::SqliteBackup;
use super::sqlserver::SqlserverBackup;

/// What a backup takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// A folder, or the beginning of a URL.
    pub to: String,
    /// Whether it is read again and held against its checksums.
    #[serde(default = "yes")]
    pub verify: bool,
    /// As the server is set where nothing is said.
    #[serde(default)]
    pub compression: Option<bool>,
}

const fn yes() -> bool {
    true
}

/// A name of the change's own in the folder, as the folder's system writes it.
pub fn file(to: &str, database: &str, key: &str, ending: &str) -> String {
    let plain: String = database
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '-' })
        .collect();
    let between = match to {
        to if to.ends_with(['/', '\\']) => "",
        to if to.contains('\\') => "\\",
        _ => "/",
    };
    format!("{to}{between}{plain}_{key}.{ending}")
}

/// Makes it.
pub fn backup(request: &Request<'_>, target: Database) -> Result<Box<dyn Action>, BuildError> {
    let on = request.on.first().cloned().unwrap_or_default();
    let with: With = request.parameters()?;
    let parameter = |words: &str| Err(BuildError::Parameter(words.to_owned()));
    if with.to.trim().is_empty() || with.to.contains(['\0', '\n', '\r']) {
        return parameter("to: names a folder, or for SQL Server a URL");
    }
    match target {
        Database::Sqlite(target) => {
            if with.compression.is_some() {
                return parameter("compression: SQLite has none; take it out");
            }
            Ok(Box::new(SqliteBackup { on, target, with }))
        }
        Database::Server(target) => match target.engine {
            Engine::Sqlserver => Ok(Box::new(SqlserverBackup { on, target, with })),
            Engine::Postgres => parameter(
                "sql.backup: PostgreSQL is backed up by command: shell.command or ssh.command with pg_dump or pg_basebackup",
            ),
            Engine::Mysql => parameter(
                "sql.backup: MySQL and MariaDB are backed up by command: shell.command or ssh.command with mysqldump, \
                 mariadb-dump or mariadb-backup",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::file;

    #[test]
    fn a_name_fits_its_folder() {
        for (to, name) in [
            ("/backup", "/backup/my-erp_pm-1.bak"),
            ("/backup/", "/backup/my-erp_pm-1.bak"),
            ("D:\\backup", "D:\\backup\\my-erp_pm-1.bak"),
            (
                "https://a.example/container",
                "https://a.example/container/my-erp_pm-1.bak",
            ),
        ] {
            assert_eq!(file(to, "my erp", "pm-1", "bak"), name);
        }
    }
}
