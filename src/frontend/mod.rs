//! What people sit in front of. Front ends send commands to the engine and fold its events; they own no truth.

pub mod ending;
pub mod follow;
pub mod hang_up;
pub mod headless;
pub mod poll;
pub mod tui;
pub mod voters;

pub use ending::Ending;
pub use hang_up::HangUps;
