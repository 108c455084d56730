//! Commands that fit into a record. An answer whose record would be larger than a line may be is never lost: what is
//! left of it still says what became of the effect. Must not change what that is.

use serde_json::Map;

use crate::run::Command;

/// The longest words that are left.
const WORDS: usize = 512;
const CUT: &str = " … (cut: it did not fit into a record)";

fn cut(words: &mut String) {
    if words.len() > WORDS {
        let end = (0..=WORDS).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
        words.truncate(end);
        words.push_str(CUT);
    }
}

/// The same answer in fewer words; none for what people say, who can say it shorter.
pub fn smaller(command: &Command) -> Option<Command> {
    let mut small = command.clone();
    match &mut small {
        Command::Checked { results, binding, .. } => {
            for result in results.iter_mut() {
                cut(&mut result.detail);
            }
            // An identity that cannot be recorded cannot be bound either.
            *binding = None;
        }
        Command::Rechecked {
            action_digest: Err(words),
            ..
        }
        | Command::LiveRed { detail: words, .. }
        | Command::Acked { provider_id: words, .. } => cut(words),
        // What is kept saves time, and nothing else: it is not kept then.
        Command::Kept { kept, .. } => *kept = serde_json::Value::Null,
        Command::Finished { outcome, .. } => {
            cut(&mut outcome.detail);
            if !outcome.outputs.is_empty() {
                outcome.outputs = Map::new();
                outcome.detail.push_str("; its outputs did not fit into a record");
            }
        }
        Command::Verified {
            results,
            outputs,
            fault,
            ..
        } => {
            for result in results.iter_mut() {
                cut(&mut result.detail);
            }
            if let Some(words) = fault {
                cut(words);
            }
            if !outputs.is_empty() {
                *outputs = Map::new();
                *fault = Some("its outputs did not fit into a record".to_owned());
            }
        }
        Command::UnwindPrepared { fault: Some(words), .. } => cut(words),
        Command::UnwindPrepared { fault: None, .. }
        | Command::Rechecked {
            action_digest: Ok(_), ..
        }
        | Command::Open { .. }
        | Command::Resume { .. }
        | Command::Advance
        | Command::ClockWentBack
        | Command::Vote { .. }
        | Command::BreakGlass { .. }
        | Command::Countersign { .. }
        | Command::Revoke { .. }
        | Command::Retry { .. }
        | Command::Skip { .. }
        | Command::FallForward { .. }
        | Command::Cancel { .. }
        | Command::ExtendWindow { .. }
        | Command::Amend { .. }
        | Command::Preflighted { .. }
        | Command::OfferSeat { .. }
        | Command::TakeSeat { .. }
        | Command::Decide { .. }
        | Command::DoneByHand { .. }
        | Command::Hold { .. }
        | Command::Release { .. }
        | Command::Rollback { .. }
        | Command::Stop { .. }
        | Command::Note { .. }
        | Command::Interrupt { .. } => return None,
    }
    Some(small)
}
