//! A poll as a table: role, who, answer, comment. Must not decide what it comes to.

use ratatui::style::Style;
use ratatui::text::Line;

use crate::frontend::tui::model::Model;
use crate::projection::escape::{fit, visible, width};
use crate::projection::words::{answer, clock};
use crate::run::event::Decision;
use crate::run::gate::{minimum, roles};
use crate::run::poll::answers;
use crate::run::state::{Request, Vote};

use super::text::{hanging, named};

/// The widest name in a column.
const WIDEST: usize = 16;

/// The answers so far, and the roles that are missing.
pub fn lines(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let counting = answers(request);
    let asked = roles(&request.gate);
    let count = |wanted: Decision| counting.values().filter(|vote| vote.decision == wanted).count();
    let left = request.expires_ms.map_or_else(String::new, |expires| {
        let rest = expires - model.now.timestamp_millis();
        format!(", expires in {}", clock(chrono::TimeDelta::milliseconds(rest)))
    });
    let abstain = match count(Decision::Abstain) {
        0 => String::new(),
        some => format!(", {some} abstained"),
    };
    let text = format!(
        "{} of {} say go, of {} roles{abstain}{left}",
        count(Decision::Approve),
        minimum(&request.gate),
        asked.len()
    );
    let mut lines = named("Poll", &text, columns, theme.strong(), theme.plain());
    let widest = |names: &mut dyn Iterator<Item = usize>, least: usize| names.max().unwrap_or(0).clamp(least, WIDEST);
    let of_roles = widest(&mut asked.iter().map(|role| width(&visible(role))), 4);
    let of_persons = widest(&mut counting.values().map(|vote| width(&visible(&vote.person))), 3);
    let row = |role: &str, who: &str, answer: &str| {
        format!(
            "  {}  {}  {}  ",
            fit(&visible(role), of_roles),
            fit(&visible(who), of_persons),
            fit(answer, 8)
        )
    };
    lines.push(Line::styled(
        format!("{}comment", row("role", "who", "answer")),
        theme.faint(),
    ));
    for role in &asked {
        match counting.get(role.as_str()) {
            Some(vote) => {
                let lead = row(role, &vote.person, answer(vote.decision));
                let comment = comment(request, vote);
                lines.extend(hanging(&lead, &comment, columns, style(model, vote.decision)));
            }
            None => lines.push(Line::styled(row(role, "-", "-"), theme.plain())),
        }
    }
    lines
}

/// What was said with an answer, and how it came to be.
fn comment(request: &Request, vote: &Vote) -> String {
    let heard = vote
        .attested_by
        .as_ref()
        .map(|by| format!("heard, written down by {by}"));
    let earlier = request.votes.iter().filter(|other| other.role == vote.role).count() > 1;
    let changed = earlier.then(|| "changed".to_owned());
    let said = Some(vote.comment.clone()).filter(|said| !said.is_empty());
    let parts: Vec<String> = [said, changed, heard].into_iter().flatten().collect();
    parts.join("; ")
}

fn style(model: &Model, decision: Decision) -> Style {
    match decision {
        Decision::Approve => model.theme.good(),
        Decision::Reject => model.theme.bad(),
        Decision::Abstain => model.theme.warn(),
    }
}
