//! What a run tells while it goes on, and what is kept of the telling.

use std::io::Write;

use homeward_model::Instant;
use homeward_net::wait::now;

use crate::report::{Actor, Outcome, Step, console};

/// The steps of a chapter so far.
#[derive(Debug)]
pub struct Story {
    began: Instant,
    steps: Vec<Step>,
}

impl Story {
    /// One that begins now.
    #[expect(clippy::new_without_default, reason = "it depends on the clock")]
    pub fn new() -> Self {
        Self { began: now(), steps: Vec::new() }
    }

    /// Adds a step, and has the host repeat it on the terminal.
    pub fn tell(&mut self, actor: Actor, title: &str, detail: &str, outcome: Outcome) {
        let at_ms = now().since(self.began).as_secs_f64() * 1e3;
        let line = console::line(at_ms, actor, &format!("{title}: {detail}"));
        // Nobody reads a closed output, so nothing is lost.
        let _ = writeln!(std::io::stdout(), "{line}");
        let (title, detail) = (title.to_owned(), detail.to_owned());
        self.steps.push(Step { at_ms, actor, title, detail, outcome });
    }

    /// How long it has gone on, in ms, and its steps.
    pub fn end(self) -> (u64, Vec<Step>) {
        let span = now().since(self.began).as_millis();
        (u64::try_from(span).unwrap_or(u64::MAX), self.steps)
    }
}
