//! A plan for people: phases, steps, what each does exactly, its gate, its way back. Pure.

use std::fmt::Write;

use super::catalogue::Effect;
use super::plan::{
    DowntimeMark, EnvironmentKind, GateKind, GateSpec, GateTimeout, NoGo, Plan, PlannedAction, PlannedStep, Rollback,
    Span, WindowEnd,
};
use super::text::duration_text;

/// The plan as text.
pub fn render(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(plan, &mut out);
    out
}

/// The word for an environment's kind.
pub const fn kind_word(kind: EnvironmentKind) -> &'static str {
    match kind {
        EnvironmentKind::Lab => "LAB",
        EnvironmentKind::Rehearsal => "REHEARSAL",
        EnvironmentKind::Production => "PRODUCTION",
    }
}

fn write(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "{} ({})", plan.title, plan.name)?;
    writeln!(
        out,
        "environment {} [{}]",
        plan.environment.name,
        kind_word(plan.environment.kind)
    )?;
    if let Some(window) = &plan.environment.window {
        writeln!(
            out,
            "window      {} to {}",
            window.opens.to_rfc3339(),
            window.closes.to_rfc3339()
        )?;
    }
    if let Some(window) = &plan.environment.window {
        let then = match window.at_end {
            WindowEnd::Ask => "the operator is asked how it goes on",
            WindowEnd::Hold => "the run is held",
            WindowEnd::Notify => "it is said, and the run goes on",
        };
        writeln!(out, "at its end  {then}")?;
        if let Some(gate) = &window.extend {
            writeln!(out, "extended by {}", gate_words(gate))?;
        }
    }
    for (name, import) in &plan.imports {
        let run = import.run.as_deref().unwrap_or("not named yet");
        writeln!(out, "imports     {name} of {}: {run}", import.runbook)?;
    }
    writeln!(out, "plan        {}", plan.digests.plan)?;
    writeln!(out, "rehearsal   {}", plan.digests.rehearsal)?;
    let mut number = 0;
    for phase in &plan.phases {
        writeln!(out, "\n{}", phase.title)?;
        for step in plan.steps.iter().filter(|step| step.phase == phase.id) {
            number += 1;
            one_step(plan, number, step, out)?;
        }
    }
    writeln!(out, "\nunwinding gate      {}", gate_words(&plan.unwind_gate))?;
    writeln!(out, "point of no return  {}", gate_words(&plan.point_of_no_return))?;
    writeln!(out, "commit gate         {}", gate_words(&plan.commit))?;
    let closing: Vec<&PlannedStep> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.rollback, Rollback::AtClose { .. }))
        .collect();
    for step in closing {
        writeln!(
            out,
            "at close            {} ({})",
            rollback_words(&step.rollback),
            step.id
        )?;
    }
    coverage(plan, out)?;
    planned(plan, out)?;
    for warning in &plan.warnings {
        writeln!(out, "warning             {warning}")?;
    }
    for later in &plan.not_available {
        writeln!(out, "not available yet   {later}")?;
    }
    Ok(())
}

fn one_step(plan: &Plan, number: usize, step: &PlannedStep, out: &mut String) -> std::fmt::Result {
    let effect = match step.action.effect {
        Effect::Read => "read",
        Effect::Mutate => "mutate",
        Effect::Human => "human",
    };
    let expected = step
        .expect
        .map(|span| format!("  ~{}", duration_text(span)))
        .unwrap_or_default();
    writeln!(out, "{number:>3} {}  [{effect}]{expected}", step.title)?;
    let on = &step.action.on;
    let on = if on.is_empty() {
        String::new()
    } else {
        format!(" on {}", on.join(", "))
    };
    writeln!(out, "      {}{on}", step.action.uses)?;
    if let serde_json::Value::Object(with) = &step.action.with {
        for (name, value) in with {
            writeln!(out, "        {name}: {}", value_words(value))?;
        }
    }
    for check in &step.before {
        writeln!(out, "      before   {}{}", action_words(check), live_words(check))?;
    }
    for check in &step.after {
        writeln!(out, "      after    {}", action_words(check))?;
    }
    writeln!(out, "      gate     {}", gate_words(&step.gate))?;
    if step.is_no_return() {
        writeln!(
            out,
            "               and the point of no return: {}",
            gate_words(&plan.point_of_no_return)
        )?;
    }
    writeln!(out, "      rollback {}", rollback_words(&step.rollback))?;
    if let Rollback::Action { before, after, .. } = &step.rollback {
        for (when, check) in before
            .iter()
            .map(|check| ("before", check))
            .chain(after.iter().map(|check| ("after", check)))
        {
            writeln!(out, "               {when} {}", action_words(check))?;
        }
    }
    if let Some(deadline) = &step.deadline {
        let due = plan.deadline(step).map(|due| format!(" ({})", due.to_rfc3339()));
        writeln!(out, "      deadline {deadline}{}", due.unwrap_or_default())?;
    }
    if step.writes_on_target {
        writeln!(out, "      POINT OF NO RETURN: from here an undo may lose rows")?;
    }
    if step.fall_forward {
        writeln!(out, "      FALL FORWARD: only offered after the point of no return")?;
    }
    match step.downtime {
        Some(DowntimeMark::Begins) => writeln!(out, "      DOWNTIME BEGINS")?,
        Some(DowntimeMark::Ends) => writeln!(out, "      DOWNTIME ENDS")?,
        None => {}
    }
    Ok(())
}

fn live_words(check: &PlannedAction) -> String {
    check.live.map_or_else(String::new, |live| {
        let red = match live.hysteresis {
            1 => String::new(),
            count => format!(", red after {count} in a row"),
        };
        format!(" [live: at most {} old{red}]", duration_text(live.max_age))
    })
}

/// An action in one line.
pub fn action_words(action: &PlannedAction) -> String {
    let on = if action.on.is_empty() {
        String::new()
    } else {
        format!(" on {}", action.on.join(", "))
    };
    let with = match &action.with {
        serde_json::Value::Object(map) => map
            .iter()
            .map(|(name, value)| format!(" {name}={}", value_words(value)))
            .collect::<String>(),
        with => format!(" {with}"),
    };
    format!("{}{on}{with}", action.uses)
}

/// A parameter's value; a predicate without the scope that it is evaluated in.
fn value_words(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(map) => match map.get("predicate") {
            Some(serde_json::Value::String(predicate)) => match map.get("known") {
                Some(known) => format!("{predicate} {known}"),
                None => predicate.clone(),
            },
            Some(_) | None => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// How long the steps take as planned, as a whole and while nobody can write.
fn planned(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let at = |mark: DowntimeMark| plan.steps.iter().position(|step| step.downtime == Some(mark));
    let sum = |steps: &[PlannedStep]| Span(steps.iter().filter_map(|step| step.expect).map(|span| span.0).sum());
    let down = match (at(DowntimeMark::Begins), at(DowntimeMark::Ends)) {
        (Some(from), Some(to)) => plan.steps.get(from..=to).map(sum),
        _ => None,
    };
    let down = down.map_or_else(String::new, |span| format!(", of it downtime {}", duration_text(span)));
    let budget = plan.environment.downtime_budget;
    let budget = budget.map_or_else(String::new, |span| format!(" (budget {})", duration_text(span)));
    let silent = plan.steps.iter().filter(|step| step.expect.is_none()).count();
    let silent = match silent {
        0 => String::new(),
        count => format!("; {count} steps say nothing"),
    };
    writeln!(
        out,
        "planned duration    {}{down}{budget}{silent}",
        duration_text(sum(&plan.steps))
    )
}

/// A gate in words.
pub fn gate_words(gate: &GateSpec) -> String {
    if let GateKind::Open { reason } = &gate.kind {
        return format!("nobody is asked: {reason}");
    }
    let who = who_words(&gate.kind);
    let phrase = gate
        .phrase
        .as_ref()
        .map(|phrase| format!(", types \"{phrase}\""))
        .unwrap_or_default();
    let expires = gate
        .expires
        .map(|span| format!(", within {}", duration_text(span)))
        .unwrap_or_default();
    let then = match (gate.on_timeout, &gate.escalate) {
        (GateTimeout::Hold, _) | (GateTimeout::Escalate, None) => String::new(),
        (GateTimeout::Reject, _) => ", else rejected".to_owned(),
        (GateTimeout::Escalate, Some(kind)) => format!(", else {}", who_words(kind)),
    };
    format!("{who}{phrase}{expires}{then}")
}

fn who_words(kind: &GateKind) -> String {
    match kind {
        GateKind::Operator => "the operator".to_owned(),
        GateKind::Open { .. } => "nobody".to_owned(),
        GateKind::Poll {
            roles,
            quorum,
            deputies,
            no_go,
        } => {
            let all: String = deputies
                .iter()
                .map(|(role, persons)| format!("; for {role} also {}", persons.join(" or ")))
                .collect();
            let stop = match no_go {
                NoGo::Ask => "",
                NoGo::Stop => "; a no-go ends the run, where nothing stands",
            };
            format!("a poll, {quorum} of {} say go{all}{stop}", roles.join(", "))
        }
        GateKind::Quorum {
            roles,
            min,
            org,
            distinct_from,
        } => {
            let org = org.as_ref().map(|org| format!(" of {org}")).unwrap_or_default();
            let not = if distinct_from.is_empty() {
                String::new()
            } else {
                format!(", not {}", distinct_from.join(" or "))
            };
            format!("{min} × {}{org}{not}", roles.join(" or "))
        }
    }
}

/// A rollback in words.
pub fn rollback_words(rollback: &Rollback) -> String {
    match rollback {
        Rollback::Nothing => "nothing to undo".to_owned(),
        Rollback::Action {
            action, parallel: true, ..
        } => format!("{} [beside others]", action_words(action)),
        Rollback::Action { action, .. } => action_words(action),
        Rollback::NotNeeded { reason } => format!("kept: {reason}"),
        Rollback::Abandon { action, redo } => {
            format!(
                "abandons: {}; doing it again costs {}",
                action_words(action),
                duration_text(*redo)
            )
        }
        Rollback::AtClose { action } => format!("when the run closes: {}", action_words(action)),
        Rollback::Irreversible { reason } => format!("IRREVERSIBLE: {reason}"),
    }
}

fn coverage(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let mutating = plan
        .steps
        .iter()
        .filter(|step| step.action.effect == Effect::Mutate)
        .count();
    let count = |wanted: fn(&Rollback) -> bool| plan.steps.iter().filter(|step| wanted(&step.rollback)).count();
    writeln!(
        out,
        "rollback coverage   {mutating} mutating steps: {} undone, {} at close, {} kept, {} abandoned, {} irreversible",
        count(|rollback| matches!(rollback, Rollback::Action { .. })),
        count(|rollback| matches!(rollback, Rollback::AtClose { .. })),
        count(|rollback| matches!(rollback, Rollback::NotNeeded { .. })),
        count(|rollback| matches!(rollback, Rollback::Abandon { .. })),
        count(|rollback| matches!(rollback, Rollback::Irreversible { .. })),
    )
}
