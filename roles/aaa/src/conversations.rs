//! EAP conversations under way, by the State that their next request bears.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use homeward_eap::Conversation;
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

    /// Forgets what nobody went on with; how many those are.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
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
            if let Some(client) = self.entries.get(&state).map(|entry| entry.client) {
                self.take(client, &state);
                expired += 1;
            }
        }
        expired
    }
}
