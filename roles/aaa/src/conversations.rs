//! EAP conversations under way, by the State that their next request bears.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use homeward_eap::{Conversation, Reason};
use homeward_model::{Entropy, GatewayId, Instant, Login};

/// RADIUS State of a conversation: 128 random bits.
pub(crate) type State = [u8; 16];

/// The conversations of a worker. Bounded: in all, and by client, so that one that begins many
/// and ends none leaves room for the others.
pub(crate) struct Conversations {
    most: usize,
    entries: HashMap<State, Entry>,
    by_client: HashMap<GatewayId, usize>,
    /// In the order in which they began. Those that are over are skipped.
    began: VecDeque<(Instant, State)>,
}

struct Entry {
    client: GatewayId,
    conversation: Box<Conversation<Arc<Login>>>,
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
        Self { most, entries: HashMap::new(), by_client: HashMap::new(), began: VecDeque::new() }
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

    /// Keeps a conversation that begins; its State.
    pub(crate) fn begin(
        &mut self,
        client: GatewayId,
        conversation: Box<Conversation<Arc<Login>>>,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> State {
        let state: State = entropy.octets();
        self.began.push_back((now, state));
        self.put_back(client, state, conversation);
        state
    }

    /// Takes the conversation with that State out, to go on with it, if it is that client's.
    pub(crate) fn take(
        &mut self,
        client: GatewayId,
        state: &[u8],
    ) -> Option<(State, Box<Conversation<Arc<Login>>>)> {
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
        Some((state, entry.conversation))
    }

    /// Puts back one that was taken out and goes on.
    pub(crate) fn put_back(
        &mut self,
        client: GatewayId,
        state: State,
        conversation: Box<Conversation<Arc<Login>>>,
    ) {
        *self.by_client.entry(client).or_default() += 1;
        self.entries.insert(state, Entry { client, conversation });
    }

    /// Forgets what nobody went on with, and says why that may be: a peer that is turned away by
    /// TLS, or that turns away from us, often falls silent.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(GatewayId, Reason)> {
        let mut expired = Vec::new();
        while let Some((_, state)) = self.began.front() {
            let due = match self.entries.get(state) {
                Some(entry) => entry.conversation.poll_timeout(),
                None => Some(now),
            };
            if due.is_some_and(|due| due > now) {
                break;
            }
            let state = *state;
            self.began.pop_front();
            if let Some(client) = self.entries.get(&state).map(|entry| entry.client)
                && let Some((_, mut conversation)) = self.take(client, &state)
                && let Some(rejected) = conversation.handle_timeout(now)
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
    use homeward_model::UnixTime;

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
        held.begin(client, conversation, now, &mut SystemEntropy::new())
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
        assert!(held.take(FAR, &young).is_some());
    }
}
