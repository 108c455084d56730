//! What must hold of a preflight: no first change without a fresh and green one that this process made for this plan.

use pointsman::run::Event;

/// The looks of a run, as the judge remembers them.
#[derive(Default)]
pub struct Looks {
    begun: Option<(u32, i64)>,
    /// When the last one that ended was begun, and how much of it was red.
    proof: Option<(i64, u32)>,
    /// How many were ever begun.
    count: u32,
}

impl Looks {
    /// Takes an event in; `valid` is how long a proof lasts, in milliseconds.
    pub fn hear(&mut self, event: &Event, valid: Option<u64>) {
        match event {
            Event::PreflightBegun { number, begun_ms } => {
                assert!(valid.is_some(), "a look that nobody asked for");
                assert!(self.begun.is_none(), "two looks at a time");
                assert_eq!(*number, self.count + 1);
                self.count = *number;
                self.begun = Some((*number, *begun_ms));
            }
            Event::PreflightEnded {
                number, begun_ms, red, ..
            } => {
                assert_eq!(self.begun.take(), Some((*number, *begun_ms)), "the end of another look");
                self.proof = Some((*begun_ms, *red));
            }
            // Another process, another plan, another clock, or something was changed and taken back.
            Event::Resumed { .. }
            | Event::RunAmended { .. }
            | Event::PreflightVoided { .. }
            | Event::UnwindFinished { complete: false } => {
                self.begun = None;
                self.proof = None;
            }
            _ => {}
        }
    }

    /// A change is begun, and nothing else stands or may stand.
    pub fn prove(&self, valid: u64, now: i64) {
        assert!(self.proof.is_some(), "the first change is begun without a preflight");
        let (begun, red) = self.proof.unwrap();
        assert_eq!(red, 0, "the first change is begun although {red} is red");
        assert!(
            (0..i64::try_from(valid).unwrap()).contains(&(now - begun)),
            "the first change is begun by a proof of {} ms ago",
            now - begun
        );
    }
}
