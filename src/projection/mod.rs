//! Pure views of a run for people. Must not perform I/O.
