//! `http.check` and `tcp.check` against real peers on loopback: what each demand finds, every fault of the network with
//! its class and its words, and what may never be shown.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod faults;
mod http;
mod peers;
mod program;
mod secure;
mod tcp;
