//! What happens to servers, and what comes of it for the requests that are there.

use homeward_model::{Entropy, Instant};
use homeward_radius::SharedSecret;

use super::{Proxy, RequestId};
use crate::home::Step;
use crate::{Event, Health, ServerId};

impl<T> Proxy<T> {
    /// Notes that a connection is up, and what protects packets on it: the secret `radsec` (RFC
    /// 6614 2.3), or [`SharedSecret::transport`] where RADIUS/1.1 was agreed on (RFC 9765).
    pub fn lane_up(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        server: ServerId,
        lane: u16,
        secret: SharedSecret,
    ) {
        // One that was not known to be gone.
        self.lane_down(now, entropy, server, lane);
        let Some(home) = self.homes.get_mut(server.0) else { return };
        let step = home.lane_up(lane, secret, now, entropy);
        self.carry_out(server, step, now, entropy);
        // Those that lost theirs and wait.
        let waiting = self.requests.iter().filter(|(_, p)| p.attempts.is_empty());
        let waiting: Vec<RequestId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(mut pending) = self.lift(id) else { continue };
            self.fail_over(id, &mut pending, now, entropy);
            self.keep(id, pending);
        }
    }

    /// Notes that a connection is gone. What was under way on it is sent over another one, or to
    /// another server (RFC 6613 2.6.1 allows that), or waits for as long as an answer may take.
    pub fn lane_down(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        server: ServerId,
        lane: u16,
    ) {
        let Some(home) = self.homes.get_mut(server.0) else { return };
        home.lane_down(lane);
        let patience = home.spec.watch.response_window;
        let lost = home.owners(Some(lane));
        for id in &lost {
            let Some(mut pending) = self.lift(*id) else { continue };
            pending.attempts.retain(|attempt| {
                let gone = (attempt.server, attempt.lane) == (server, lane);
                if gone && let Some(home) = self.homes.get_mut(server.0) {
                    home.free(lane, attempt.number);
                }
                !gone
            });
            self.keep(*id, pending);
        }
        self.move_on(lost, Some(patience), now, entropy);
    }

    /// Notes that there is nobody at the server's port (ICMP: port unreachable). Anybody could
    /// say so, so the server is only doubted; but what is under way there is asked elsewhere.
    pub fn refused(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        server: ServerId,
        lane: u16,
    ) {
        let Some(home) = self.homes.get(server.0) else { return };
        let there = home.owners(None);
        self.missed(server, lane, now, entropy);
        for id in there {
            let Some(mut pending) = self.lift(id) else { continue };
            if pending.attempts.last().is_some_and(|attempt| attempt.server == server) {
                self.fail_over(id, &mut pending, now, entropy);
            }
            self.keep(id, pending);
        }
    }

    /// Notes that a server let an answer wait for too long.
    pub(super) fn missed(
        &mut self,
        server: ServerId,
        lane: u16,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let Some(home) = self.homes.get_mut(server.0) else { return };
        let step = home.missed(lane, now, entropy);
        self.carry_out(server, step, now, entropy);
    }

    /// Notes an authentic answer.
    pub(super) fn hear(&mut self, server: ServerId, now: Instant, is_check: bool) {
        let Some(home) = self.homes.get_mut(server.0) else { return };
        if let Some((was, is)) = home.heard(now, is_check).change {
            self.events.push_back(Event::Health { server, was, is });
        }
    }

    /// Carries out what a step of a server came to.
    pub(super) fn carry_out(
        &mut self,
        server: ServerId,
        step: Step,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        self.transmits.extend(step.transmit);
        if let Some(lane) = step.stalled {
            self.events.push_back(Event::Stalled { server, lane });
        }
        if let Some((was, is)) = step.change {
            self.events.push_back(Event::Health { server, was, is });
            if is == Health::Dead {
                let there = self.homes.get(server.0).map(|home| home.owners(None));
                self.move_on(there.unwrap_or_default(), None, now, entropy);
            }
        }
    }
}
