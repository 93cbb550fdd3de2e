//! Requests on their way: to a server, to another one, and to an end.

use homeward_model::{Entropy, Instant};
use homeward_radius::dictionary::standard::{CALLING_STATION_ID, STATE, USER_NAME};
use homeward_radius::{Code, Packet};
use zeroize::Zeroizing;

use super::{Asker, Attempt, Onward, Pending, Proxy, RequestId, place};
use crate::conversations::{Conversations, hash};
use crate::rewrite::{self, Opened};
use crate::{Balance, Event, Health, Octets, Reason, Rejection, Routed, ServerId, Transmit};

/// The most identifiers that one request may hold, by records that are sent again with another
/// Acct-Delay-Time.
const MAX_ATTEMPTS: usize = 8;

impl<T> Proxy<T> {
    /// Forwards a request for the first time.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        asker: &Asker<'_>,
        packet: &Packet<'_>,
        onward: Onward,
        ticket: T,
    ) -> Routed<T> {
        if self.requests.len() >= self.settings.outstanding {
            return Routed::Silent(ticket, Reason::Overload);
        }
        let share = self.clients.get(&asker.client).copied().unwrap_or_default();
        if share >= self.settings.per_client {
            return Routed::Silent(ticket, Reason::ClientShare);
        }
        let Onward { route, pool, realm, user_name, eap } = onward;
        let id = RequestId(self.next);
        let identity =
            [CALLING_STATION_ID, USER_NAME].map(|kind| packet.find(kind).unwrap_or_default());
        let state = packet.find(STATE).map(|state| Conversations::key(self.seed, pool, state));
        let mut pending = Pending {
            ticket,
            client: asker.client,
            source: asker.source,
            secret: asker.secret.clone(),
            packet: packet.as_bytes().into(),
            code: packet.code(),
            place: place(packet, asker.secret),
            authenticator: *packet.authenticator(),
            eap,
            realm,
            user_name,
            route,
            pool,
            identity: hash(self.seed, identity),
            conversation: state,
            mark: self.key.make(entropy),
            came: now,
            deadline: now + self.settings.give_up,
            late: None,
            attempts: Vec::with_capacity(1),
        };
        if let Err(reason) = self.send(id, &mut pending, now, entropy) {
            let silent = pending.code != Code::AccessRequest
                || reason.is_shed()
                || (reason == Reason::NoServer && self.is_silent(pool));
            let rejection = Rejection { reason, eap };
            return match silent {
                true => Routed::Silent(pending.ticket, reason),
                false => Routed::Rejected(pending.ticket, rejection),
            };
        }
        self.next += 1;
        self.sources.insert((pending.source, pending.code, pending.place), id);
        *self.clients.entry(pending.client).or_default() += 1;
        self.keep(id, pending);
        Routed::Forwarded
    }

    /// Sends a request to the best server that was not asked yet.
    pub(super) fn send(
        &mut self,
        id: RequestId,
        pending: &mut Pending<T>,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Result<ServerId, Reason> {
        let (order, bound) = self.order(pending);
        let mut reason = Reason::NoServer;
        for server in order {
            match self.attempt(id, pending, server, now, entropy) {
                Ok(()) => return Ok(server),
                Err(error) => reason = error,
            }
            // Another server would not know the conversation.
            if reason != Reason::ServerShare || bound == Some(server) {
                break;
            }
        }
        Err(reason)
    }

    /// The servers that may be asked, best first; and the one that knows the conversation.
    fn order(&self, pending: &Pending<T>) -> (Vec<ServerId>, Option<ServerId>) {
        let Some(pool) = self.table.get(pending.pool) else { return (Vec::new(), None) };
        let health = |server: ServerId| self.homes.get(server.0).map(|home| home.health());
        let may = |server: &ServerId| {
            self.homes.get(server.0).is_some_and(|home| home.is_usable())
                && !pending.attempts.iter().any(|attempt| attempt.server == *server)
        };
        let mut order: Vec<ServerId> = pool.servers.iter().copied().filter(may).collect();
        if pool.balance == Balance::Identity {
            order.sort_by_cached_key(|server| {
                let name = self.homes.get(server.0).map_or("", |home| &home.spec.name);
                std::cmp::Reverse(hash(pending.identity, [name.as_bytes()]))
            });
        }
        // Stable: zombies behind the living, each in order.
        order.sort_by_key(|server| health(*server) == Some(Health::Zombie));
        let bound = pending.conversation.and_then(|state| self.conversations.server(state));
        let bound = bound.filter(|bound| order.contains(bound));
        if let Some(at) = bound.and_then(|bound| order.iter().position(|server| *server == bound)) {
            order.get_mut(..=at).unwrap_or_default().rotate_right(1);
        }
        (order, bound)
    }

    /// Asks one server.
    fn attempt(
        &mut self,
        id: RequestId,
        pending: &mut Pending<T>,
        server: ServerId,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Result<(), Reason> {
        let home = self.homes.get_mut(server.0).ok_or(Reason::NoServer)?;
        let (lane, number) = home.take(id).ok_or(Reason::ServerShare)?;
        let window = home.spec.watch.response_window;
        let (secret, identifier, authenticator) =
            home.address(lane, number, entropy).ok_or(Reason::NoServer)?;
        let packet = Packet::decode(&pending.packet).map_err(|_| Reason::TooLong)?;
        let mut payload = Zeroizing::new(Vec::with_capacity(packet.as_bytes().len() + 80));
        let from = Opened {
            packet: &packet,
            secret: &pending.secret,
            authenticator: &pending.authenticator,
        };
        let delay = u32::try_from(now.since(pending.came).as_secs()).unwrap_or(u32::MAX);
        let onward = rewrite::Onward {
            secret,
            identifier,
            authenticator,
            filter: &pending.route.requests,
            user_name: pending.user_name.as_deref(),
            operator: self.settings.operator.as_ref(),
            delay,
            mark: &pending.mark,
        };
        let authenticator = match rewrite::request(&mut payload, &from, &onward) {
            Ok(authenticator) => authenticator,
            Err(error) => {
                home.free(lane, number);
                return Err(error.into());
            }
        };
        pending.late = Some(now + window);
        let payload = Octets::from(payload);
        self.transmits.push_back(Transmit { server, lane, payload: payload.clone() });
        let (first, last) = (now, now);
        let attempt = Attempt { server, lane, number, authenticator, payload, first, last };
        pending.attempts.push(attempt);
        Ok(())
    }

    /// Passes a NAS's repetition on.
    pub(super) fn send_again(&mut self, id: RequestId, now: Instant, entropy: &mut impl Entropy) {
        let Some(mut pending) = self.lift(id) else { return };
        let health = |server: ServerId| self.homes.get(server.0).map(|home| home.health());
        let last = pending.attempts.last().map(|a| (a.server, a.first, a.last));
        let moved = match last {
            Some((server, _, _)) if health(server) == Some(Health::Alive) => false,
            _ => self.fail_over(id, &mut pending, now, entropy),
        };
        if let (false, Some((server, first, last))) = (moved, last)
            && let Some(home) = self.homes.get(server.0)
            && home.is_usable()
            && !home.spec.transport.is_stream()
            && now.since(last) >= self.settings.repeat_gap
        {
            // A delay that is another makes another record, with another identifier
            // (RFC 2866 5.2).
            let late = pending.late;
            let again = pending.code == Code::AccountingRequest
                && now.since(first).as_secs() > 0
                && pending.attempts.len() < MAX_ATTEMPTS
                && self.attempt(id, &mut pending, server, now, entropy).is_ok();
            if again {
                // The server is no less late for having been asked again.
                pending.late = late;
            } else if let Some(attempt) = pending.attempts.last_mut() {
                attempt.last = now;
                let (lane, payload) = (attempt.lane, attempt.payload.clone());
                self.transmits.push_back(Transmit { server, lane, payload });
            }
        }
        self.keep(id, pending);
    }

    /// Sends a request to another server, if there is one that is alive and one more may be
    /// asked; says whether it did.
    pub(super) fn fail_over(
        &mut self,
        id: RequestId,
        pending: &mut Pending<T>,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> bool {
        let asked: std::collections::BTreeSet<_> =
            pending.attempts.iter().map(|attempt| attempt.server).collect();
        if asked.len() >= self.settings.servers.max(1) {
            return false;
        }
        let from = pending.attempts.last().map(|attempt| attempt.server);
        let Ok(to) = self.send(id, pending, now, entropy) else { return false };
        if let Some(from) = from.filter(|from| *from != to) {
            self.events.push_back(Event::FailedOver { from, to });
        }
        true
    }

    /// Handles a request that is due.
    pub(super) fn expire(&mut self, id: RequestId, now: Instant, entropy: &mut impl Entropy) {
        if self.requests.get(&id).is_some_and(|pending| pending.deadline <= now) {
            return self.conclude(id, Reason::NoAnswer);
        }
        let Some(mut pending) = self.lift(id) else { return };
        pending.late = None;
        // The server that was asked last is the one that has not answered in time.
        let late = pending.attempts.last().map(|attempt| (attempt.server, attempt.lane));
        let moved = self.fail_over(id, &mut pending, now, entropy);
        let waits = moved || !pending.attempts.is_empty();
        self.keep(id, pending);
        if !waits {
            self.conclude(id, Reason::NoServer);
        }
        if let Some((server, lane)) = late {
            self.missed(server, lane, now, entropy);
        }
    }

    /// Sends requests elsewhere that were under way at a server, or on one lane of it. Those for
    /// which there is nowhere else end, but where a `patience` says how long they may wait for a
    /// connection.
    pub(super) fn move_on(
        &mut self,
        requests: Vec<RequestId>,
        patience: Option<std::time::Duration>,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        for id in requests {
            let Some(mut pending) = self.lift(id) else { continue };
            let usable = |a: &Attempt| {
                self.homes
                    .get(a.server.0)
                    .is_some_and(|home| home.health() != Health::Dead && home.has_lane(a.lane))
            };
            // Somebody else is being asked already.
            let waits = pending.attempts.iter().any(usable);
            let moved = waits || self.fail_over(id, &mut pending, now, entropy);
            if let (false, Some(patience)) = (moved, patience) {
                pending.late = Some(now + patience);
            }
            self.keep(id, pending);
            if !moved && patience.is_none() {
                self.conclude(id, Reason::NoServer);
            }
        }
    }

    /// Takes a request out, to be changed.
    pub(super) fn lift(&mut self, id: RequestId) -> Option<Pending<T>> {
        let pending = self.requests.remove(&id)?;
        self.timers.remove(&(pending.due(), id));
        Some(pending)
    }

    /// Puts a request in, or back.
    pub(super) fn keep(&mut self, id: RequestId, pending: Pending<T>) {
        self.timers.insert((pending.due(), id));
        self.requests.insert(id, pending);
    }
}
