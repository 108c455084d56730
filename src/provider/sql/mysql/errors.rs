//! What errors of MySQL and MariaDB mean for a read. Source: the error references of MySQL 8.4 and of MariaDB.

use std::io::ErrorKind;

use mysql_async::{DriverError, Error, IoError};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::tls::refusal::refusal;

use ActionErrorKind::{Permanent, Transient};

/// What can be said of an error beyond its own words.
struct Known {
    code: u16,
    kind: ActionErrorKind,
    hint: &'static str,
}

const fn known(code: u16, kind: ActionErrorKind, hint: &'static str) -> Known {
    Known { code, kind, hint }
}

const LOGIN: &str = "check user and password, and from where the user may come";
const RIGHT: &str = "grant it to the connection's user";
const WRITES: &str = "the statement would write; use sql.exec for what changes something";
const LIMIT: &str = "the connection's timeout says how long a statement may take";
const ACCOUNT: &str = "give the account caching_sha2_password, mysql_native_password, ed25519 or PARSEC";
const LATER: &str = "try again when there is room";

/// What may go well later is transient; what is not here is refused.
const KNOWN: &[Known] = &[
    // ER_CON_COUNT_ERROR, ER_OUTOFMEMORY, ER_OUT_OF_RESOURCES
    known(1040, Transient, LATER),
    known(1037, Transient, LATER),
    known(1041, Transient, LATER),
    // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR, ER_HOST_NOT_PRIVILEGED
    known(
        1044,
        Permanent,
        "grant the database to the connection's user, or name another one",
    ),
    known(1045, Permanent, LOGIN),
    known(1698, Permanent, LOGIN),
    known(1130, Permanent, LOGIN),
    known(
        1129,
        Permanent,
        "the server has blocked this host after failures; flush its host cache",
    ),
    known(1820, Permanent, "the user's password has expired; set a new one"),
    known(1862, Permanent, "the user's password has expired; set a new one"),
    known(3118, Permanent, "the account is locked"),
    // ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_PARSE_ERROR
    known(1049, Permanent, "check database: of the connection"),
    known(1146, Permanent, "check the name, and database: of the connection"),
    known(1054, Permanent, "check the names of the columns"),
    known(1064, Permanent, "check the statement; parameters are written ?"),
    // ER_SERVER_SHUTDOWN, network reads and writes, ER_USER_LIMIT_REACHED
    known(1053, Transient, "the server is going down"),
    known(1158, Transient, "the connection was cut"),
    known(1159, Transient, "the connection was cut"),
    known(1160, Transient, "the connection was cut"),
    known(1161, Transient, "the connection was cut"),
    known(1203, Transient, LATER),
    known(1226, Transient, LATER),
    // Rights
    known(1142, Permanent, RIGHT),
    known(1143, Permanent, RIGHT),
    known(1227, Permanent, RIGHT),
    known(1370, Permanent, RIGHT),
    // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK
    known(1205, Transient, "somebody holds a lock on it"),
    known(1213, Transient, "it ran into somebody else's locks"),
    // ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE
    known(1290, Permanent, WRITES),
    known(1792, Permanent, WRITES),
    known(1836, Permanent, WRITES),
    known(
        1295,
        Permanent,
        "the server prepares no such statement; ask the same by a select from information_schema",
    ),
    // ER_NET_PACKET_TOO_LARGE, ER_CLIENT_INTERACTION_TIMEOUT
    known(1153, Permanent, "raise max_allowed_packet of the server"),
    known(4031, Transient, "the server ended the session, which was idle for long"),
    // ER_QUERY_INTERRUPTED, ER_CONNECTION_KILLED
    known(1317, Transient, "somebody ended the statement"),
    known(1927, Transient, "somebody ended the session"),
    // ER_QUERY_TIMEOUT, MariaDB's ER_STATEMENT_TIMEOUT
    known(3024, Transient, LIMIT),
    known(1969, Transient, LIMIT),
    // ER_SECURE_TRANSPORT_REQUIRED
    known(3159, Permanent, "the server takes TLS only: take tls: off out"),
];

/// The class of an error of a read.
pub fn failed(error: &Error, what: &str) -> ActionError {
    let (kind, words) = match error {
        Error::Server(told) => {
            let found = KNOWN.iter().find(|known| known.code == told.code);
            let kind = found.map_or(Permanent, |known| known.kind);
            let hint = found.map_or_else(String::new, |known| format!("; {}", known.hint));
            (kind, format!("{} ({}, {}){hint}", told.message, told.code, told.state))
        }
        Error::Io(IoError::Tls(cause)) => {
            let hint = "the file under ca: has to hold PEM certificates";
            (Permanent, format!("TLS: {cause}; {hint}"))
        }
        Error::Io(IoError::Io(cause)) => match refusal(cause) {
            Some(words) => (Permanent, words),
            // What is asked for that is not done.
            None if cause.kind() == ErrorKind::Unsupported => (Permanent, cause.to_string()),
            // What was said makes no sense, or nothing was said.
            None if matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::TimedOut)
                && cause.raw_os_error().is_none() =>
            {
                (Transient, format!("{cause}; try again"))
            }
            None => (Transient, format!("{cause}; is it up, and may this machine reach it?")),
        },
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            let words = "the server has no TLS; configure it there, or write tls: off where the network is trusted";
            (Permanent, words.to_owned())
        }
        Error::Driver(DriverError::ConnectionClosed) => (Transient, "the connection was cut; try again".to_owned()),
        Error::Driver(DriverError::CleartextPluginDisabled) => (
            Permanent,
            format!("the server asks for the password in clear text, which is not sent; {ACCOUNT}"),
        ),
        Error::Driver(DriverError::MysqlOldPasswordDisabled) => (
            Permanent,
            format!("the server asks for a proof of before MySQL 4.1, which is not given; {ACCOUNT}"),
        ),
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => (
            Permanent,
            format!("the server asks for {name}, a way of logging in that is not known here; {ACCOUNT}"),
        ),
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => (Permanent, error.to_string()),
    };
    ActionError::new(kind, format!("{what}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_error_is_told_once() {
        let codes: BTreeSet<u16> = KNOWN.iter().map(|known| known.code).collect();
        assert_eq!(codes.len(), KNOWN.len());
    }
}
