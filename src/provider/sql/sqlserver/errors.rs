//! What errors of SQL Server mean for a read, by number. Source: "Database engine events and errors" and "Troubleshoot
//! transient connection errors" of its documentation.

use std::io;

use tiberius::error::Error;

use crate::provider::action::{ActionError, ActionErrorKind};

use ActionErrorKind::{Permanent, Transient};

/// What can be said of an error beyond its own words.
struct Known {
    number: u32,
    kind: ActionErrorKind,
    hint: &'static str,
}

const fn known(number: u32, kind: ActionErrorKind, hint: &'static str) -> Known {
    Known { number, kind, hint }
}

const LOGIN: &str = "check user and password, or the token";
const RIGHT: &str = "grant it to the connection's user";
const NAME: &str = "check the name, and database: of the connection";
const LATER: &str = "try again when there is room";
const MOVES: &str = "the service moves or wakes the database; try again";
const LOCKS: &str = "it ran into somebody else's locks";

/// What may go well later is transient; what is not here is refused.
const KNOWN: &[Known] = &[
    // Locks and versions
    known(1205, Transient, LOCKS),
    known(1222, Transient, "somebody holds a lock on it"),
    known(3960, Transient, LOCKS),
    known(
        3952,
        Permanent,
        "the database does not allow snapshot isolation; allow it, or do without",
    ),
    known(3961, Transient, "somebody changed the table's definition meanwhile"),
    // Room
    known(701, Transient, LATER),
    known(802, Transient, LATER),
    known(8645, Transient, LATER),
    known(8651, Transient, LATER),
    known(10928, Transient, LATER),
    known(10929, Transient, LATER),
    known(40501, Transient, LATER),
    known(40544, Permanent, "the database has reached its size"),
    known(40549, Transient, "the service ended a session that took too long"),
    known(49918, Transient, LATER),
    known(49919, Transient, LATER),
    known(49920, Transient, LATER),
    known(17809, Transient, LATER),
    known(18461, Transient, "the server is in single-user mode"),
    // Azure SQL moves a database, or it is starting
    known(4221, Transient, MOVES),
    known(40143, Transient, MOVES),
    known(40197, Transient, MOVES),
    known(40540, Transient, MOVES),
    known(40613, Transient, MOVES),
    known(
        40615,
        Permanent,
        "let this machine's address through the server's firewall",
    ),
    known(921, Transient, "the database is recovering"),
    known(922, Transient, "the database is recovering"),
    known(
        976,
        Permanent,
        "the database is on a secondary that takes no reads; connect to another replica",
    ),
    known(
        978,
        Permanent,
        "this replica takes sessions with the intent to read only; sql.query has it, others have not",
    ),
    known(983, Transient, "the availability group moves"),
    known(988, Transient, "the availability group moves"),
    known(6005, Transient, "the server is going down"),
    // Logins and rights
    known(18456, Permanent, LOGIN),
    known(18452, Permanent, LOGIN),
    known(18470, Permanent, "the login is disabled"),
    known(18486, Permanent, "the login is locked"),
    known(18487, Permanent, "the password has expired; set a new one"),
    known(18488, Permanent, "the password has to be changed"),
    known(
        4060,
        Permanent,
        "check database: of the connection, and whether the user may open it",
    ),
    known(911, Permanent, "check database: of the connection"),
    known(916, Permanent, "let the login into the database"),
    known(229, Permanent, RIGHT),
    known(230, Permanent, RIGHT),
    known(297, Permanent, RIGHT),
    known(300, Permanent, RIGHT),
    known(371, Permanent, RIGHT),
    // Statements
    known(
        102,
        Permanent,
        "check the statement; parameters are written @P1, @P2 and so on",
    ),
    known(137, Permanent, "parameters are written @P1, @P2 and so on"),
    known(156, Permanent, "check the statement"),
    known(207, Permanent, "check the names of the columns"),
    known(208, Permanent, NAME),
    known(2812, Permanent, NAME),
    known(2601, Permanent, "the key is there already"),
    known(2627, Permanent, "the key is there already"),
    known(3906, Permanent, "the database is read-only"),
];

/// The number of a server's error.
pub fn number(error: &Error) -> Option<u32> {
    error.code()
}

/// The class of an error of a read.
pub fn failed(error: &Error, what: &str) -> ActionError {
    let (kind, words) = match error {
        Error::Server(told) => {
            let found = KNOWN.iter().find(|known| known.number == told.code());
            let kind = found.map_or(Permanent, |known| known.kind);
            let hint = found.map_or_else(String::new, |known| format!("; {}", known.hint));
            (kind, format!("{} ({}){hint}", told.message(), told.code()))
        }
        Error::Io {
            kind: io::ErrorKind::TimedOut,
            ..
        } => {
            let words = "no answer in time; the connection's timeout says how long a statement may take";
            (Transient, words.to_owned())
        }
        Error::Io { message, .. } if message.contains("certificate") => (Permanent, certificate(message)),
        Error::Io { message, .. } => (
            Transient,
            format!("{message}; is it up, and may this machine reach it?"),
        ),
        Error::Tls(message) => (Permanent, certificate(message)),
        Error::Routing { host, port } => {
            let words = format!("it sends us on to {host}:{port} again and again; name that server");
            (Permanent, words)
        }
        Error::Protocol(_)
        | Error::Encoding(_)
        | Error::Conversion(_)
        | Error::Utf8
        | Error::Utf16
        | Error::ParseInt(_)
        | Error::BulkInput(_) => (Permanent, error.to_string()),
    };
    ActionError::new(kind, format!("{what}: {words}"))
}

fn certificate(message: &str) -> String {
    let hint = if message.contains("UnknownIssuer") || message.contains("issuer") {
        "name the issuer's CA under ca:"
    } else if message.contains("NotValidForName") || message.contains("not valid for name") {
        "ask by the name that it is for, or have one issued for this name"
    } else {
        "look at what serves it; tls: off where the server has no TLS and the network is trusted"
    };
    format!("TLS: {message}; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_error_is_told_once() {
        let numbers: BTreeSet<u32> = KNOWN.iter().map(|known| known.number).collect();
        assert_eq!(numbers.len(), KNOWN.len());
    }
}
