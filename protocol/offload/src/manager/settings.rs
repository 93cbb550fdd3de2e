//! The limits and times of a [`Manager`](super::Manager), as far as the operator's policy does not
//! say them.

use std::time::Duration;

use homeward_model::Rssi;

/// The limits and times of a [`Manager`](super::Manager). [`Settings::default`] is fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most requests to the portal in any hour, whatever happens. At least 1.
    pub requests_per_hour: u16,
    /// When a request without an answer is given up. At least 1 s.
    pub request: Duration,
    /// How long the first request waits, at the longest and by chance, after cellular is up.
    pub spread: Duration,
    /// The wait after the portal did not answer; it doubles up to
    /// [`away_most`](Self::away_most). At least 1 s.
    pub away: Duration,
    /// The longest wait for a portal that does not answer.
    pub away_most: Duration,
    /// The wait after the portal refused. Short, for the portal may not have heard yet of a
    /// bearer that is new; it doubles up to [`refused_most`](Self::refused_most). At least 1 s.
    pub refused: Duration,
    /// The longest wait after refusals.
    pub refused_most: Duration,
    /// The wait after an answer that did not help, such as credentials that are to be renewed
    /// already; it doubles up to [`refused_most`](Self::refused_most). At least 1 s.
    pub useless: Duration,
    /// The wait after the network refused a log-on for the second time in a row; it doubles up
    /// to [`rejected_most`](Self::rejected_most). At least 1 s.
    pub rejected: Duration,
    /// The longest wait after refused log-ons.
    pub rejected_most: Duration,

    /// Asking by short message where the portal cannot be reached over a bearer; `None`: never.
    pub messages: Option<Messages>,

    /// How often the air is scanned while nothing of the operator's is heard. At least 1 s.
    pub scan_far: Duration,
    /// The same, while something of the operator's is heard that is too weak. At least 1 s.
    pub scan_near: Duration,
    /// The time constant of the smoothed signal: a change shows by half after about as long.
    pub smoothing: Duration,
    /// How old a signal may be to count as what is. Longer than any interval of scans.
    pub gap: Duration,
    /// Whether a network is logged on to before it is strong enough to be used: from halfway
    /// between what the policy has it left and joined at, and without its dwell. New connections
    /// use it no sooner for that, but then at once. Credentials for one log-on are kept for a
    /// network that is used.
    pub early: bool,
    /// How often the signal of a network in use is measured. At least 50 ms.
    pub measure: Duration,
    /// The same, of one that is not used yet. At least 50 ms.
    pub measure_ready: Duration,
    /// Below this smoothed signal Wi-Fi is left at once, without the policy's dwell.
    pub floor: Rssi,
    /// The most access points that are remembered.
    pub max_bsses: usize,

    /// How long the supplicant may take for new network blocks. At least 1 s.
    pub program: Duration,
    /// How long an association may take. At least 1 s.
    pub associate: Duration,
    /// How long a log-on may take. At least 1 s.
    pub authenticate: Duration,
    /// How long an address may take. At least 1 s.
    pub address: Duration,
    /// How long Wi-Fi that is used may be without an address, as while a lease is renewed.
    pub bare: Duration,
    /// How long a check of connectivity may take. At least 1 s.
    pub verify: Duration,
    /// How many checks in a row may fail before Wi-Fi counts as broken. At least 1.
    pub verify_tries: u8,
    /// The pause between a check that failed and the next.
    pub verify_pause: Duration,
    /// How often connectivity is checked while Wi-Fi is used. At least 1 s.
    pub recheck: Duration,
    /// How long Wi-Fi is kept after the default route left it, so that old connections end.
    pub linger: Duration,
    /// How long the supplicant may take to leave. At least 1 s.
    pub leave: Duration,
    /// Wi-Fi that ends by itself sooner than this after the log-on counts as a failure.
    pub short: Duration,
    /// How long an access point is shunned after a failure; it doubles up to
    /// [`penalty_most`](Self::penalty_most). At least 1 s.
    pub penalty: Duration,
    /// The longest an access point is shunned.
    pub penalty_most: Duration,
}

/// How the portal is asked by short message. Each costs money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The number that is asked, and that answers: digits, with or without a `+` before them.
    pub number: String,
    /// For how long the portal has to be out of reach over a bearer first.
    pub after: Duration,
    /// How long an answer may take. At least 1 s.
    pub answer: Duration,
    /// The most messages in any 24 hours, whatever happens. At least 1.
    pub per_day: u16,
    /// The wait after a message. It doubles up to [`retry_most`](Self::retry_most) until what one
    /// brought has opened a network, or the portal is reached otherwise; half of it is chance. At
    /// least 1 s.
    pub retry: Duration,
    /// The longest wait after a message.
    pub retry_most: Duration,
    /// The authority that servers must be of where the operator's policy has one, in PEM: it is
    /// too long for a message. Not needed where the same policy came over a bearer before.
    pub ca: Option<String>,
}

impl Messages {
    /// Those of a number, with limits that are fit for use.
    pub const fn at(number: String) -> Self {
        Self {
            number,
            after: Duration::from_secs(120),
            answer: Duration::from_secs(300),
            per_day: 10,
            retry: Duration::from_secs(600),
            retry_most: Duration::from_secs(6 * 3600),
            ca: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            requests_per_hour: 30,
            request: s(20),
            spread: Duration::from_millis(500),
            away: s(2),
            away_most: s(300),
            refused: s(4),
            refused_most: s(3600),
            useless: s(60),
            rejected: s(300),
            rejected_most: s(3600),
            messages: None,
            scan_far: s(10),
            scan_near: s(3),
            smoothing: s(1),
            gap: s(25),
            early: true,
            measure: s(1),
            measure_ready: Duration::from_millis(250),
            floor: Rssi(-88),
            max_bsses: 128,
            program: s(10),
            associate: s(10),
            authenticate: s(20),
            address: s(15),
            bare: s(1),
            verify: s(8),
            verify_tries: 2,
            verify_pause: s(1),
            recheck: s(60),
            linger: s(2),
            leave: s(3),
            short: s(10),
            penalty: s(60),
            penalty_most: s(3600),
        }
    }
}

impl Settings {
    /// The same, with what would make the machine spin or stand still raised to its least.
    pub(crate) fn floored(mut self) -> Self {
        let second = Duration::from_secs(1);
        for span in [
            &mut self.request,
            &mut self.away,
            &mut self.refused,
            &mut self.useless,
            &mut self.rejected,
            &mut self.scan_far,
            &mut self.scan_near,
            &mut self.program,
            &mut self.associate,
            &mut self.authenticate,
            &mut self.address,
            &mut self.verify,
            &mut self.recheck,
            &mut self.leave,
            &mut self.penalty,
        ] {
            *span = (*span).max(second);
        }
        for span in [&mut self.measure, &mut self.measure_ready] {
            *span = (*span).max(Duration::from_millis(50));
        }
        self.away_most = self.away_most.max(self.away);
        self.refused_most = self.refused_most.max(self.refused);
        self.rejected_most = self.rejected_most.max(self.rejected);
        self.penalty_most = self.penalty_most.max(self.penalty);
        self.requests_per_hour = self.requests_per_hour.max(1);
        if let Some(messages) = &mut self.messages {
            messages.answer = messages.answer.max(second);
            messages.retry = messages.retry.max(second);
            messages.retry_most = messages.retry_most.max(messages.retry);
            messages.per_day = messages.per_day.max(1);
        }
        self.verify_tries = self.verify_tries.max(1);
        self.gap = self.gap.max(self.scan_far * 2);
        self
    }
}
