//! The cockpit: one screen that says where the run is, what is next, what it will do exactly, and how to get back.
//!
//! Model, update, view: keys become messages only in `keymap`; `update` changes the model and says what to send; the
//! view draws and never changes anything. Only this folder names ratatui and crossterm.

pub mod able;
mod answer;
mod cockpit;
mod hear;
pub mod keymap;
pub mod model;
pub mod moment;
pub mod msg;
pub mod offers;
pub mod questions;
mod terminal;
pub mod theme;
pub mod update;
pub mod view;

pub use cockpit::{Amender, CockpitError, CockpitOptions, run};
pub use model::{LabLine, Model, Session};
pub use msg::{Act, Action, Msg};
