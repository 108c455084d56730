//! The embedded lab: a small cloud on loopback. Providers never know that it exists; only `cli` starts it.
