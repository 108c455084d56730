//! Text to plan. Pure: files are read by `cli` and handed over as text.
