//! EAP conversations under way, by the State that their next request bears.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use homeward_eap::{Conversation, Reason};
use homeward_model::{GatewayId, Instant, Login, Secret};

use crate::login::Why;

/// RADIUS State of a conversation: 128 random bits.
pub(crate) type State = [u8; 16];

/// The conversations of a worker. Bounded: in all, and by client, so that one that begins many
/// and ends none leaves room for the others.
pub(crate) struct Conversations {
    most: usize,
    entries: HashMap<State, Entry>,
    by_client: HashMap<GatewayId, usize>,
    /// When each is to be over. Those that are over already are skipped.
    due: BTreeSet<(Instant, State)>,
}

struct Entry {
    client: GatewayId,
    held: Held,
}

/// A conversation between two of its messages.
pub(crate) struct Held {
    pub(crate) conversation: Box<Conversation<Arc<Login>>>,
    /// A password that there was no room to check yet: its hash, and what came.
    pub(crate) unchecked: Option<(Option<Secret>, Secret)>,
    /// Why it is refused, once the peer was told and the try was counted.
    pub(crate) refused: Option<Why>,
}

impl From<Box<Conversation<Arc<Login>>>> for Held {
    fn from(conversation: Box<Conversation<Arc<Login>>>) -> Self {
        Self { conversation, unchecked: None, refused: None }
    }
}

/// Why there is no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many as there may be.
    All,
    /// The client has its share.
    Client,
}

impl Full {
    /// The word for metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::All => "conversations-full",
            Self::Client => "client-share-full",
        }
    }
}

impl Conversations {
    /// At most `most`, of which no client has more than a quarter.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), by_client: HashMap::new(), due: BTreeSet::new() }
    }

    /// Whether a client may begin another.
    pub(crate) fn room(&self, client: GatewayId) -> Result<(), Full> {
        if self.entries.len() >= self.most {
            return Err(Full::All);
        }
        let share = (self.most / 4).max(1);
        match self.by_client.get(&client) {
            Some(count) if *count >= share => Err(Full::Client),
            _ => Ok(()),
        }
    }

    /// Takes the conversation with that State out, to go on with it, if it is that client's.
    pub(crate) fn take(&mut self, client: GatewayId, state: &[u8]) -> Option<(State, Held)> {
        let state: State = state.try_into().ok()?;
        if self.entries.get(&state)?.client != client {
            return None;
        }
        let entry = self.entries.remove(&state)?;
        if let Some(count) = self.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
        Some((state, entry.held))
    }

    /// Keeps one that goes on.
    pub(crate) fn keep(&mut self, client: GatewayId, state: State, held: impl Into<Held>) {
        let held = held.into();
        // Again each time: while it was out, its turn may have come and gone.
        if let Some(due) = held.conversation.poll_timeout() {
            self.due.insert((due, state));
        }
        *self.by_client.entry(client).or_default() += 1;
        self.entries.insert(state, Entry { client, held });
    }

    /// Forgets what nobody went on with, and says why that may be: a peer that is turned away by
    /// TLS, or that turns away from us, often falls silent.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(GatewayId, Reason)> {
        let mut expired = Vec::new();
        while let Some((due, state)) = self.due.first().copied() {
            if due > now && self.entries.contains_key(&state) {
                break;
            }
            self.due.pop_first();
            if due > now {
                continue;
            }
            if let Some(client) = self.entries.get(&state).map(|entry| entry.client)
                && let Some((_, mut held)) = self.take(client, &state)
                && let Some(rejected) = held.conversation.handle_timeout(now)
            {
                expired.push((client, rejected.reason));
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_daemon::SystemEntropy;
    use homeward_eap::{Context, Origin, ServerCredential, SessionSettings, Sessions, Settings};
    use homeward_model::{Entropy, UnixTime};

    use super::*;

    const NEAR: GatewayId = GatewayId(1);
    const FAR: GatewayId = GatewayId(2);

    fn context() -> Arc<Context> {
        let made = rcgen::generate_simple_self_signed(["eap.example.net".to_owned()]).unwrap();
        let server = ServerCredential {
            chain: vec![made.cert.der().clone()],
            key: made.signing_key.serialize_der().try_into().unwrap(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let sessions = Arc::new(Sessions::new(SessionSettings::default()));
        Arc::new(Context::new(Settings::default(), &provider, server, None, sessions).unwrap())
    }

    fn begin(held: &mut Conversations, client: GatewayId, now: Instant) -> State {
        let origin = Origin { station: None, framed_mtu: None, wall: UnixTime(0) };
        let conversation = Box::new(Conversation::new(&context(), origin, now));
        let state = SystemEntropy::new().octets();
        held.keep(client, state, conversation);
        state
    }

    #[test]
    fn a_client_that_ends_none_leaves_room_for_the_others() {
        let mut held = Conversations::new(8);
        let now = Instant::ORIGIN;
        let first = begin(&mut held, NEAR, now);
        begin(&mut held, NEAR, now);
        assert_eq!(held.room(NEAR), Err(Full::Client), "a quarter of eight");
        assert_eq!(held.room(FAR), Ok(()));
        for client in 3..9 {
            begin(&mut held, GatewayId(client), now);
        }
        assert_eq!(held.room(FAR), Err(Full::All));
        held.take(NEAR, &first).unwrap();
        assert_eq!((held.room(FAR), held.room(NEAR)), (Ok(()), Ok(())));
    }

    #[test]
    fn nobody_goes_on_with_anothers_conversation() {
        let mut held = Conversations::new(8);
        let state = begin(&mut held, NEAR, Instant::ORIGIN);
        assert!(held.take(FAR, &state).is_none());
        assert!(held.take(NEAR, &[0; 16]).is_none());
        assert!(held.take(NEAR, &state[..15]).is_none());
        assert!(held.take(NEAR, &state).is_some());
        assert!(held.take(NEAR, &state).is_none(), "it was taken");
    }

    #[test]
    fn what_nobody_goes_on_with_is_forgotten_with_a_reason_and_what_goes_on_is_not() {
        let mut held = Conversations::new(8);
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        begin(&mut held, NEAR, at(0));
        let ended = begin(&mut held, FAR, at(1));
        held.take(FAR, &ended);
        let young = begin(&mut held, FAR, at(30));
        assert_eq!(held.expire(at(59)), []);
        let expired = held.expire(at(61));
        assert!(matches!(expired[..], [(NEAR, Reason::TimedOut { .. })]), "{expired:?}");
        let (_, goes_on) = held.take(FAR, &young).unwrap();
        held.keep(FAR, young, goes_on);
        assert_eq!(held.expire(at(91)).len(), 1, "in its own time");
    }

    #[test]
    fn one_that_was_out_while_others_ended_is_forgotten_in_its_time_all_the_same() {
        let mut held = Conversations::new(8);
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let state = begin(&mut held, NEAR, at(0));
        // A password is being checked, and the housekeeping comes by.
        let (_, out) = held.take(NEAR, &state).unwrap();
        assert_eq!(held.expire(at(1)), []);
        held.keep(NEAR, state, out);
        assert_eq!(held.expire(at(61)).len(), 1);
        assert!(held.due.is_empty() && held.by_client.is_empty());
    }

    #[test]
    fn what_is_remembered_of_many_messages_is_not_many() {
        let mut held = Conversations::new(8);
        let state = begin(&mut held, NEAR, Instant::ORIGIN);
        for _ in 0..100 {
            let (_, out) = held.take(NEAR, &state).unwrap();
            held.keep(NEAR, state, out);
        }
        assert_eq!(held.due.len(), 1);
        held.take(NEAR, &state);
        assert_eq!(held.expire(Instant::ORIGIN), []);
        assert!(held.due.is_empty());
    }
}
