//! Drawing: one file a pane or modal. Must not change the model and must not know keys except through the keymap.

mod alarms;
mod decide_window;
mod evidence;
mod footer;
mod gate_window;
mod header;
mod output;
mod poll_table;
mod reading_window;
mod screen;
mod step;
mod text;
mod timing;
mod tree;
mod typing_window;
mod window;

pub use screen::view;
