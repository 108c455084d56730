//! The pure state machine of a run. Must not know tokio, clocks, I/O or randomness.
