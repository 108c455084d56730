//! The contract of DNS: changes under caches that other people wrote. Knot is the authority, unbound the cache in front
//! of it, both real processes on loopback with folders and ports of their own.
//!
//! Knot does not speak Route 53's API, so the two halves come from two hands. Changes go to the lab's Route 53; a mirror of
//! the suite (`mirror.rs`) carries what the lab *serves*, so after INSYNC, into Knot by dynamic update (RFC 2136), and the
//! actions ask Knot as the zone's authoritative server. What is proven here is the asking, the waiting, the counting of
//! requests and a cache's true behaviour until a TTL has run out; `dig` is the second opinion. What is not: AWS's own
//! propagation, name servers found through a zone's delegation, and weighted records and aliases, which Knot does not have
//! (they are held against the lab in `shift.rs` and `aliases.rs`). Foreign changes are made by the suite's own hand at
//! Route 53, at moments that it waits for.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod aliases;
mod bench;
mod foreign;
mod lowered;
mod mirror;
mod peers;
mod resolvers;
mod shift;
mod spellings;
mod ways_back;
