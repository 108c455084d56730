//! `ssh.command` against a real OpenSSH server: who is trusted, what a command gets and gives, and what is said of it when
//! the connection, the server, the command or the program goes away in the middle.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod command;
mod cut;
mod night;
mod place;
mod server;
mod systemd;
mod trust;
mod unit;
