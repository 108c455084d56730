//! The only place that knows keys. A table binds keys to acts, by what is in front; the footer and the help overlay are
//! read from the same table, so that neither can tell of a key that does not work.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::run::poll::is_poll;

use super::able::available;
use super::model::{Modal, Model};
use super::msg::{Act, Msg};

/// What is in front and takes the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The panes.
    Main,
    /// A gate without a phrase.
    Gate,
    /// A gate whose phrase is typed.
    Phrase,
    /// A gate that is a poll.
    Poll,
    /// A field.
    Typing,
    /// A list of choices.
    Choosing,
    /// Something to read.
    Reading,
    /// The summary of a run that is over.
    Over,
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub contexts: &'static [Context],
    pub keys: &'static [Key],
    pub act: Act,
    /// For the footer; empty: the footer does not name it.
    pub short: &'static str,
    pub help: &'static str,
}

const fn key(code: KeyCode) -> Key {
    Key { code, ctrl: false }
}

const fn char(char: char) -> Key {
    key(KeyCode::Char(char))
}

const fn ctrl(char: char) -> Key {
    Key {
        code: KeyCode::Char(char),
        ctrl: true,
    }
}

const fn bind(
    contexts: &'static [Context],
    keys: &'static [Key],
    act: Act,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        contexts,
        keys,
        act,
        short,
        help,
    }
}

const MAIN: &[Context] = &[Context::Main];
const GATES: &[Context] = &[Context::Gate, Context::Phrase, Context::Poll];
const FIELDS: &[Context] = &[Context::Phrase, Context::Typing];
const EVERYWHERE: &[Context] = &[
    Context::Main,
    Context::Gate,
    Context::Phrase,
    Context::Poll,
    Context::Typing,
    Context::Choosing,
    Context::Reading,
    Context::Over,
];
const NO_FIELD: &[Context] = &[
    Context::Main,
    Context::Gate,
    Context::Poll,
    Context::Choosing,
    Context::Reading,
    Context::Over,
];
const MODALS: &[Context] = &[
    Context::Gate,
    Context::Phrase,
    Context::Poll,
    Context::Typing,
    Context::Choosing,
    Context::Reading,
    Context::Over,
];

/// The table. Order is the order of the footer and of the help.
pub const BINDINGS: &[Binding] = &[
    bind(
        MAIN,
        &[char('a')],
        Act::Gate,
        "approve…",
        "look at the open gate, with its exact commands; approving is a further key",
    ),
    bind(
        MAIN,
        &[char('x')],
        Act::Reject,
        "reject…",
        "reject the open gate with a comment",
    ),
    bind(
        MAIN,
        &[char('d')],
        Act::Decide,
        "decide…",
        "a step failed or is in doubt: say how it goes on",
    ),
    bind(
        MAIN,
        &[char('h')],
        Act::Hold,
        "hold…",
        "hold the run: nothing new starts; running effects finish",
    ),
    bind(
        MAIN,
        &[char('r')],
        Act::Release,
        "release",
        "end the hold: checks are read and gates asked again",
    ),
    bind(
        MAIN,
        &[char('s')],
        Act::Skip,
        "skip…",
        "go on without the selected step: asks the reason, then its own gate",
    ),
    bind(
        MAIN,
        &[char('c')],
        Act::End,
        "cancel…",
        "ask what runs to end: the selected step, or the only one that runs",
    ),
    bind(
        MAIN,
        &[char('u')],
        Act::Rollback,
        "roll back…",
        "choose how far to go back and see in which order",
    ),
    bind(MAIN, &[char('n')], Act::Note, "note…", "write a note into the journal"),
    bind(
        MAIN,
        &[char('w')],
        Act::Extend,
        "extend…",
        "ask for a longer window, under its own gate",
    ),
    bind(
        MAIN,
        &[char('A')],
        Act::Amend,
        "amend…",
        "in a hold: read a changed runbook, see what it changes, ask for it under its own gate",
    ),
    bind(
        MAIN,
        &[char('o')],
        Act::Seat,
        "hand over…",
        "offer the operator's seat, or take it; one's own id confirms",
    ),
    bind(
        MAIN,
        &[char('C')],
        Act::Countersign,
        "countersign…",
        "give the second signature under a vote that was only heard, or a broken glass",
    ),
    bind(
        &[Context::Gate, Context::Choosing],
        &[char('y')],
        Act::Confirm,
        "confirm",
        "do what this window says",
    ),
    bind(
        &[Context::Poll],
        &[char('y')],
        Act::Confirm,
        "go",
        "the person who was chosen says go for the role; a later answer of the role replaces it",
    ),
    bind(
        &[Context::Poll],
        &[char('x')],
        Act::NoGo,
        "no-go…",
        "the person says no-go for the role: asks why, then the poll is over",
    ),
    bind(
        &[Context::Poll],
        &[char('b')],
        Act::Abstain,
        "abstain",
        "the person abstains for the role: neither go nor no-go",
    ),
    bind(
        FIELDS,
        &[key(KeyCode::Enter)],
        Act::Submit,
        "submit",
        "take what was typed",
    ),
    bind(
        GATES,
        &[ctrl('t')],
        Act::Heard,
        "heard",
        "the voter was heard on the bridge: the operator writes the vote down, the voter signs within 24 hours",
    ),
    bind(
        GATES,
        &[ctrl('g')],
        Act::BreakGlass,
        "BREAK GLASS",
        "pass this gate without its persons, in an emergency: red everywhere, second signature within 24 hours",
    ),
    bind(
        &[Context::Gate, Context::Phrase, Context::Poll, Context::Choosing],
        &[key(KeyCode::Tab)],
        Act::Other,
        "next",
        "the next that asks: another open gate, another failure",
    ),
    bind(FIELDS, &[key(KeyCode::Backspace)], Act::Erase, "", "erase a character"),
    bind(FIELDS, &[ctrl('u')], Act::EraseAll, "", "erase everything typed"),
    bind(
        EVERYWHERE,
        &[key(KeyCode::Up)],
        Act::Up,
        "",
        "up: a row, a choice, the person who votes",
    ),
    bind(EVERYWHERE, &[key(KeyCode::Down)], Act::Down, "", "down"),
    bind(NO_FIELD, &[char('k')], Act::Up, "", "up"),
    bind(NO_FIELD, &[char('j')], Act::Down, "", "down"),
    bind(EVERYWHERE, &[key(KeyCode::PageUp)], Act::PageUp, "", "a page up"),
    bind(EVERYWHERE, &[key(KeyCode::PageDown)], Act::PageDown, "", "a page down"),
    bind(
        NO_FIELD,
        &[key(KeyCode::Home), char('g')],
        Act::Top,
        "",
        "to the beginning",
    ),
    bind(
        NO_FIELD,
        &[key(KeyCode::End), char('G')],
        Act::Bottom,
        "",
        "to the end; in the output: follow",
    ),
    bind(
        MAIN,
        &[key(KeyCode::Enter)],
        Act::Inspect,
        "inspect",
        "look closer; never executes anything",
    ),
    bind(MAIN, &[char(' ')], Act::Fold, "", "fold or unfold a phase"),
    bind(MAIN, &[key(KeyCode::Tab)], Act::NextPane, "panes", "next pane"),
    bind(MAIN, &[key(KeyCode::BackTab)], Act::PreviousPane, "", "previous pane"),
    bind(
        MAIN,
        &[char('f')],
        Act::Follow,
        "follow",
        "let the selection follow the run again",
    ),
    bind(
        MAIN,
        &[char('S')],
        Act::Summary,
        "summary",
        "how the run stands: times, downtime, approvals",
    ),
    bind(
        &[Context::Main, Context::Gate, Context::Poll, Context::Choosing],
        &[char('?')],
        Act::Help,
        "help",
        "this help",
    ),
    bind(EVERYWHERE, &[key(KeyCode::F(1))], Act::Help, "", "this help"),
    bind(
        &[Context::Main, Context::Over],
        &[char('q')],
        Act::Leave,
        "leave…",
        "leave: hold and exit, or stop",
    ),
    bind(EVERYWHERE, &[ctrl('c')], Act::Leave, "", "leave, from anywhere"),
    bind(
        &[Context::Reading],
        &[char('q'), key(KeyCode::Enter)],
        Act::Cancel,
        "",
        "close this window",
    ),
    bind(
        MODALS,
        &[key(KeyCode::Esc)],
        Act::Cancel,
        "back",
        "close this window; nothing happens",
    ),
];

/// What takes the keys now.
pub fn context(model: &Model) -> Context {
    match &model.modal {
        None => Context::Main,
        Some(Modal::Gate { request, .. }) => {
            let gate = model.state().requests.get(request).map(|request| &request.gate);
            if gate.is_some_and(is_poll) {
                Context::Poll
            } else if gate.is_some_and(|gate| gate.phrase.is_some()) {
                Context::Phrase
            } else {
                Context::Gate
            }
        }
        Some(Modal::Reject { .. } | Modal::Reason { .. }) => Context::Typing,
        Some(
            Modal::Failure { .. }
            | Modal::Doubt { .. }
            | Modal::Rollback { .. }
            | Modal::Leave { .. }
            | Modal::End { .. }
            | Modal::Seat { .. },
        ) => Context::Choosing,
        Some(Modal::Summary { .. }) if model.state().is_closed() => Context::Over,
        Some(Modal::Help { .. } | Modal::Summary { .. }) => Context::Reading,
    }
}

/// What a key press means in a context; nothing for keys that mean nothing there.
pub fn message(context: Context, event: KeyEvent) -> Option<Msg> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let found = BINDINGS.iter().find(|binding| {
        binding.contexts.contains(&context)
            && binding
                .keys
                .iter()
                .any(|key| key.code == event.code && key.ctrl == ctrl)
    });
    match (found, event.code) {
        // A key that is held down moves and types; it never confirms.
        (Some(binding), _) if event.kind == KeyEventKind::Repeat && !repeats(binding.act) => None,
        (Some(binding), _) => Some(Msg::Act(binding.act)),
        (None, KeyCode::Char(typed))
            if matches!(context, Context::Phrase | Context::Typing)
                && !ctrl
                && !event.modifiers.contains(KeyModifiers::ALT) =>
        {
            Some(Msg::Type(typed))
        }
        (None, KeyCode::Char(pressed)) if !matches!(context, Context::Phrase | Context::Typing) && !ctrl => {
            Some(Msg::Unbound(pressed))
        }
        (None, _) => None,
    }
}

const fn repeats(act: Act) -> bool {
    matches!(act, Act::Up | Act::Down | Act::PageUp | Act::PageDown | Act::Erase)
}

/// The keys that work now, for the footer: key and word.
pub fn footer(model: &Model) -> Vec<(String, &'static str)> {
    let context = context(model);
    BINDINGS
        .iter()
        .filter(|binding| binding.contexts.contains(&context) && !binding.short.is_empty())
        .filter(|binding| available(model, binding.act))
        .filter_map(|binding| binding.keys.first().map(|key| (name(*key), binding.short)))
        .collect()
}

/// Every key of a context with what it does, for the help.
pub fn help(context: Context) -> Vec<(String, &'static str)> {
    BINDINGS
        .iter()
        .filter(|binding| binding.contexts.contains(&context))
        .map(|binding| {
            let names: Vec<String> = binding.keys.iter().map(|key| name(*key)).collect();
            (names.join(" "), binding.help)
        })
        .collect()
}

fn name(key: Key) -> String {
    let plain = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(char) => char.to_string(),
        KeyCode::F(number) => format!("F{number}"),
        KeyCode::PageUp => "PgUp".to_owned(),
        KeyCode::PageDown => "PgDn".to_owned(),
        KeyCode::BackTab => "Shift-Tab".to_owned(),
        KeyCode::Up => "↑".to_owned(),
        KeyCode::Down => "↓".to_owned(),
        other => other.to_string(),
    };
    if key.ctrl { format!("Ctrl-{plain}") } else { plain }
}
