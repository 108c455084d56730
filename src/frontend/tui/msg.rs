//! What the cockpit hears and what it asks for. Owns only the vocabulary.

use chrono::{DateTime, Utc};

use crate::engine::handle::{Feed, Past, Refused};
use crate::run::Command;

/// Everything that comes from outside, in one stream.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A key that means something where it was pressed.
    Act(Act),
    /// A character typed into a field.
    Type(char),
    /// A key that means nothing where it was pressed.
    Unbound(char),
    /// Text pasted; only fields take it.
    Paste(String),
    Feed(Feed),
    /// The whole history, asked for after something was lost.
    History(Box<Past>),
    /// A command was answered.
    Told {
        command: Command,
        result: Result<(), Refused>,
    },
    /// A changed runbook was read and asked for, or why it was not: lines for people.
    Amended(Result<(), Vec<String>>),
    /// A note was answered.
    Noted {
        text: String,
        result: Result<(), Refused>,
    },
    Tick(DateTime<Utc>),
    Resized(u16, u16),
    /// The terminal or the system wants the program to end.
    HangUp(String),
}

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    NextPane,
    PreviousPane,
    /// Looks closer; never executes.
    Inspect,
    Fold,
    Follow,
    Gate,
    Reject,
    Decide,
    Hold,
    Release,
    Note,
    Rollback,
    /// Asks to go on without the selected step.
    Skip,
    /// Asks what runs to end.
    End,
    /// Offers or takes the operator's seat.
    Seat,
    /// Asks for a longer window.
    Extend,
    /// Asks to go on by a changed runbook.
    Amend,
    Countersign,
    /// The next that asks: another gate, another failure.
    Other,
    /// The role that was chosen says no-go to a poll.
    NoGo,
    /// The role that was chosen says neither go nor no-go.
    Abstain,
    /// The voter is only heard.
    Heard,
    BreakGlass,
    Summary,
    Leave,
    Help,
    /// Does what the modal says.
    Confirm,
    /// Ends the typing of a field.
    Submit,
    Erase,
    EraseAll,
    Cancel,
}

/// What the cockpit asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Tell(Command),
    Note(String),
    /// Read a changed runbook, and ask to go on by it.
    Amend {
        path: String,
        reason: String,
    },
    /// Ask for the history.
    CatchUp,
    Quit {
        exit: u8,
        reason: String,
    },
}
