//! What the service manager is told (systemd's `Type=notify-reload`; `sd_notify(3)`).
//!
//! Outside a service manager, every call is a no-op. A message that cannot be delivered is
//! logged and forgotten: it is no reason to stop serving.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

/// The role serves. Call it once sockets are bound and the first state is loaded.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// The role is reading its configuration anew; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(at) => send(&[NotifyState::Reloading, at]),
        Err(error) => tracing::warn!(%error, "no monotonic time for the service manager"),
    }
}

/// The role is ending its work.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// One line about the present state, shown by `systemctl status`. It is seen by every user of the
/// machine: no identifiers.
pub fn status(line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    send(&[NotifyState::Status(&line)]);
}

/// Tells the watchdog twice per period that the runtime still turns; pending for ever where no
/// watchdog is set. Put it into the role's own `select!` or `join!`, not on a thread of its own:
/// a role that hangs must fall silent.
pub async fn keep_alive() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|p| !p.is_zero()) else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval((period / 2).max(Duration::from_millis(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
