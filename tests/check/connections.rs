//! Bad connections.

use super::{Case, case};

pub const CASES: &[Case] = &[
    case(
        "servers' connections whose settings cannot be meant",
        &[
            (
                "target: { uses: sqlite, path: target.db }",
                "a: { uses: mysql, host: h, port: 0, database: d, user: u, tls: maybe }\n  b: { uses: postgres, host: h, tls: off, ca: ca.pem }\n  c: { uses: sqlserver, host: h, database: d, token: \"${ secret.p }\", password: \"${ secret.p }\", tls: off, timeout: soon }",
            ),
            ("version: 1\n", "version: 1\nsecrets: { p: { env: P } }\n"),
        ],
        &[
            ("8:36", "port is 0"),
            ("8:66", "the tls of a is not known"),
            ("9:6", "the postgres connection b has no database"),
            ("9:6", "the postgres connection b has no user"),
            ("9:47", "a ca that nobody is verified by"),
            ("10:54", "a token beside a password"),
            ("10:103", "a token that anybody on the way may use"),
            ("10:117", "the timeout of c"),
        ],
    ),
    case(
        "ssh connections that do not say who logs in, or how",
        &[
            (
                "target: { uses: sqlite, path: target.db }",
                "a: { uses: ssh, host: h, port: 70000, user: u, key: k, password: \"${ secret.p }\" }\n  b: { uses: ssh, user: u, passphrase: letmein }",
            ),
            ("version: 1\n", "version: 1\nsecrets: { p: { env: P } }\n"),
        ],
        &[
            ("8:6", "the ssh connection a needs one proof of who logs in"),
            ("8:34", "port is 70000"),
            ("9:6", "the ssh connection b has no host"),
            ("9:6", "the ssh connection b needs one proof of who logs in"),
            ("9:40", "a passphrase without a key"),
            ("9:40", "a literal secret stands in passphrase"),
        ],
    ),
    case(
        "connection that does not fit",
        &[("on: source", "on: aws")],
        &[("16:13", "aws")],
    ),
];
