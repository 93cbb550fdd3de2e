//! Asking the portal by short message, where it cannot be reached over a bearer.
//!
//! A message costs money, and what it brings is good for one log-on and not for long. So one is
//! sent only if all of that holds:
//!
//! - what is in hand is of no use: there is nothing, or it is spent, refused, over, or somebody
//!   else's;
//! - a network of the operator's is heard, or nobody knows yet which those are;
//! - the portal has been out of reach for [`Messages::after`]: there is no bearer, or requests over
//!   it are not answered;
//! - the last message is long enough ago ([`Messages::retry`]), and the day has room for one more.
//!
//! An answer counts if it comes from the number asked and has the nonce of the last request, which
//! nobody else knows: senders can be forged. It may be late; once there are others, or the portal
//! has answered over a bearer, it is none any more.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use homeward_model::{Entropy, Imsi, Instant, Secret, WlanPolicy};

use super::asking::sound;
use super::settings::Messages;
use super::{Action, Answer, Failure, Manager, MessageId, Notice, Request, Trouble, Wanted};
use crate::wire::CredentialRequest;
use crate::wire::sms::{self, Digest, Nonce, SmsAnswer, SmsReply};
use homeward_model::backoff::Backoff;

const DAY: Duration = Duration::from_secs(86_400);

/// Requests by short message.
#[derive(Debug)]
pub(crate) struct Messaging {
    nonces: Nonces,
    /// Since when the portal has been out of reach over a bearer.
    out_of_reach: Option<Instant>,
    pub(crate) asked: Option<Asked>,
    /// When the last message was sent.
    pub(crate) last: Option<Instant>,
    pub(crate) backoff: Backoff,
    /// What failed last, and in whose words, until an answer helps.
    pub(crate) trouble: Option<(Trouble, Option<String>)>,
    /// When each message of a day stops to count, the oldest first.
    counted: VecDeque<Instant>,
    ids: u64,
    /// The policy of credentials that were discarded: its authority comes by no message.
    known: Option<WlanPolicy>,
}

/// A message that was sent, or is about to be.
#[derive(Debug)]
pub(crate) struct Asked {
    id: MessageId,
    /// Who is asked.
    number: String,
    nonce: Nonce,
    wanted: Wanted,
    request: Request,
    pub(crate) at: Instant,
    pub(crate) deadline: Instant,
    /// Whether its time is over. An answer still counts.
    pub(crate) overdue: bool,
}

/// Makes nonces of a key that is chosen by chance at the start: SHA-256 of key and number.
struct Nonces {
    key: [u8; 32],
    count: u64,
}

impl Nonces {
    fn next(&mut self) -> Nonce {
        self.count += 1;
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(&self.key);
        context.update(&self.count.to_be_bytes());
        Nonce::new(context.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Messaging {
    pub(crate) fn new(entropy: &mut impl Entropy, now: Instant) -> Self {
        Self {
            nonces: Nonces { key: entropy.octets(), count: 0 },
            out_of_reach: Some(now),
            asked: None,
            last: None,
            backoff: Backoff::default(),
            trouble: None,
            counted: VecDeque::new(),
            ids: 0,
            known: None,
        }
    }

    /// The portal has answered over a bearer.
    pub(crate) fn within_reach(&mut self) {
        self.out_of_reach = None;
    }

    /// It has not, or there is none.
    pub(crate) fn out_of_reach(&mut self, now: Instant) {
        self.out_of_reach = self.out_of_reach.or(Some(now));
    }

    /// That SIM is in the modem: what was asked for another is asked no more.
    pub(crate) fn sim(&mut self, imsi: Imsi) {
        if self.asked.take_if(|asked| asked.request.imsi != imsi).is_some() {
            self.trouble = None;
        }
    }

    /// There are credentials that came otherwise.
    pub(crate) fn satisfied(&mut self) {
        (self.asked, self.trouble) = (None, None);
        self.backoff.forgive();
    }

    /// Keeps the policy of credentials that are discarded.
    pub(crate) fn keep(&mut self, policy: WlanPolicy) {
        self.known = Some(policy);
    }

    /// When a day has room for one more; `None`: now.
    pub(crate) fn room(&self, settings: &Messages, now: Instant) -> Option<Instant> {
        let most = usize::from(settings.per_day);
        self.counted.iter().rev().nth(most.saturating_sub(1)).copied().filter(|at| *at > now)
    }

    /// How many messages count now.
    pub(crate) fn sent(&self, now: Instant) -> usize {
        self.counted.iter().filter(|at| **at > now).count()
    }

    /// When the next message may be sent; `None`: now.
    pub(crate) fn waits(&self, settings: &Messages, now: Instant) -> Option<Instant> {
        let reach = self.out_of_reach.map(|since| since + settings.after).filter(|at| *at > now);
        let room = self.room(settings, now);
        [reach, self.backoff.until(now), room].into_iter().flatten().max()
    }

    /// When there is something to be done.
    pub(crate) fn next(&self, settings: Option<&Messages>, now: Instant) -> Option<Instant> {
        let overdue = self.asked.as_ref().filter(|asked| !asked.overdue);
        match (overdue, settings) {
            (Some(asked), _) => Some(asked.deadline),
            (None, Some(settings)) => self.waits(settings, now),
            (None, None) => None,
        }
    }

    /// Whether an answer may still come in time.
    pub(crate) fn waiting(&self) -> Option<&Asked> {
        self.asked.as_ref().filter(|asked| !asked.overdue)
    }

    fn count(&mut self, at: Instant, now: Instant) {
        while self.counted.front().is_some_and(|at| *at <= now) {
            self.counted.pop_front();
        }
        let after = self.counted.partition_point(|other| *other <= at);
        self.counted.insert(after, at);
    }
}

impl Manager {
    /// Messages were sent in the machine's last life, so long ago: they count, too.
    pub fn remember_messages(&mut self, ages: impl IntoIterator<Item = Duration>, now: Instant) {
        let now = self.tick(now);
        for age in ages {
            if let Some(left) = DAY.checked_sub(age).filter(|left| !left.is_zero()) {
                self.messaging.count(now + left, now);
            }
        }
        self.settle(now);
    }

    /// What became of [`Action::Message`]: whether the network has it. The words are for people.
    pub fn handle_message_sent(&mut self, id: MessageId, result: Result<(), String>, now: Instant) {
        let now = self.tick(now);
        let answer = self.settings.messages.as_ref().map(|settings| settings.answer);
        let asked = &mut self.messaging.asked;
        match (result, asked.as_mut().filter(|asked| asked.id == id && !asked.overdue)) {
            (Ok(()), Some(asked)) => asked.deadline = now + answer.unwrap_or_default(),
            (Err(words), Some(_)) => {
                *asked = None;
                self.message_failed(Trouble::Unsent, Some(words), now);
            }
            (_, None) => {}
        }
        self.settle(now);
    }

    /// A short message came, whole. One that answers nothing that was asked changes nothing.
    pub fn handle_message(&mut self, from: &str, text: &str, now: Instant) {
        let now = self.tick(now);
        let nonce = sms::nonce(text);
        let is_it = |asked: &mut Asked| {
            same_number(from, &asked.number) && nonce.is_some_and(|nonce| nonce == asked.nonce)
        };
        match self.messaging.asked.take_if(is_it) {
            Some(asked) => self.message_answered(asked, text, now),
            None => self.counters.messages_ignored += 1,
        }
        self.settle(now);
    }

    /// Asks by message, if there is reason and nothing stands against it.
    pub(crate) fn ask_by_message(&mut self, now: Instant) {
        if let Some(asked) = &mut self.messaging.asked
            && !asked.overdue
            && asked.deadline <= now
        {
            asked.overdue = true;
            self.message_failed(Trouble::Away, None, now);
        }
        let Some(settings) = self.settings.messages.clone() else { return };
        let may = self.message_fits(now)
            && self.is_near(now)
            && self.messaging.waiting().is_none()
            && self.messaging.waits(&settings, now).is_none();
        let Some(((imsi, mac), wanted)) =
            self.modem.imsi.zip(self.supplicant.mac).zip(self.message_wanted(now)).filter(|_| may)
        else {
            return;
        };
        let previous = self.held.as_ref().map(|held| held.stored.username.clone());
        let request = Request { imsi, imei: self.modem.imei, mac, previous, handoff: false };
        let Request { imsi, imei, mac, previous, handoff } = request.clone();
        let text = sms::encode_request(&CredentialRequest { imsi, imei, mac, previous, handoff });
        let messaging = &mut self.messaging;
        let nonce = messaging.nonces.next();
        let text = Secret::new(sms::with_nonce(text, Some(nonce)).as_bytes());
        messaging.ids += 1;
        let id = MessageId(messaging.ids);
        messaging.count(now + DAY, now);
        messaging.backoff.fail(settings.retry, settings.retry_most, now, &mut self.jitter);
        messaging.last = Some(now);
        let Messages { number, answer, .. } = settings;
        let to = number.clone();
        messaging.asked = Some(Asked {
            id,
            number,
            nonce,
            wanted,
            request,
            at: now,
            deadline: now + answer,
            overdue: false,
        });
        self.counters.messages += 1;
        self.actions.push_back(Action::Message { id, to, text });
        self.notify(Notice::AskedByMessage { wanted });
    }

    /// Why credentials should be asked for by message, if they should: what is in hand must be of
    /// no use, for issuing ends it.
    pub(crate) fn message_wanted(&self, now: Instant) -> Option<Wanted> {
        self.wanted(now).filter(|wanted| match wanted {
            Wanted::None | Wanted::Moved | Wanted::Rejected | Wanted::Spent => true,
            Wanted::Renewal => {
                let end = self.held.as_ref().and_then(|held| held.stored.expires);
                end.zip(self.clocks.likely(now)).is_some_and(|(end, time)| time >= end)
            }
            // A message says no time, and brings nothing better than what a message brought.
            Wanted::ByMessage | Wanted::Clock => false,
            // No key comes by message.
            Wanted::Keys => false,
        })
    }

    /// Whether a message can be sent, and the portal cannot be asked over a bearer.
    pub(crate) fn message_fits(&self, now: Instant) -> bool {
        let asking = &self.asking;
        let away = matches!(asking.trouble, Some((Trouble::Away, _)))
            && !asking.arriving(now)
            && asking.waits(&self.settings, now).is_some();
        let over_bearer = asking.open.is_some() || self.modem.bearer && !away;
        self.switches.offload && self.modem.messages && !over_bearer
    }

    /// Whether credentials would be of use here: a network of the operator's is heard, or nobody
    /// knows which those are.
    pub(crate) fn is_near(&self, now: Instant) -> bool {
        let usable = |mac: &homeward_model::Mac| self.air.penalty(*mac, now).is_none();
        self.held.is_none() || self.air.bsses.keys().any(usable)
    }

    fn message_answered(&mut self, asked: Asked, text: &str, now: Instant) {
        match self.read(text).and_then(sound) {
            Ok(answer) => {
                self.counters.message_answers += 1;
                self.messaging.trouble = None;
                self.accept(answer, asked.wanted, &asked.request, true, now);
                if self.message_wanted(now).is_some() {
                    self.message_failed(Trouble::Useless, None, now);
                }
            }
            Err(Failure::Invalid(words)) => {
                self.message_failed(Trouble::Invalid, Some(words), now);
            }
            Err(_) => self.message_failed(Trouble::Refused, None, now),
        }
    }

    /// What a message says.
    fn read(&self, text: &str) -> Result<Answer, Failure> {
        let reply = sms::decode_reply(text);
        let SmsAnswer { answer, digest, has_ca } =
            match reply.map_err(|invalid| Failure::Invalid(invalid.to_string()))? {
                SmsReply::Credentials(answer) => *answer,
                SmsReply::Refused => return Err(Failure::Refused),
            };
        let policy = match has_ca {
            true => self.with_authority(answer.policy, digest)?,
            false => answer.policy,
        };
        Ok(Answer {
            username: answer.username,
            password: answer.password,
            expires: answer.expires,
            renew_from: answer.renew_from,
            one_time: answer.one_time,
            policy,
            date: None,
            handoff: None,
        })
    }

    /// A policy with the authority that it lost on its way: that of the same policy, if it came
    /// over a bearer before, or the one that was set up by hand.
    fn with_authority(&self, policy: WlanPolicy, digest: Digest) -> Result<WlanPolicy, Failure> {
        let held = self.held.as_ref().map(|held| &held.stored.policy);
        let known = [held, self.messaging.known.as_ref()].into_iter().flatten();
        if let Some(known) = known.into_iter().find(|known| Digest::of(known) == digest) {
            return Ok(known.clone());
        }
        let by_hand = self.settings.messages.as_ref().and_then(|settings| settings.ca.clone());
        match by_hand {
            Some(ca) => Ok(WlanPolicy { ca: Some(ca), ..policy }),
            None => Err(Failure::Invalid(
                "its policy pins an authority, which no message brings: give it as portal.sms.ca"
                    .to_owned(),
            )),
        }
    }

    fn message_failed(&mut self, trouble: Trouble, words: Option<String>, now: Instant) {
        self.counters.message_failures += 1;
        self.messaging.trouble = Some((trouble, words));
        let in_a_row = self.messaging.backoff.failures();
        let waits = |settings| self.messaging.waits(settings, now);
        let retry = self.settings.messages.as_ref().and_then(waits);
        let retry_ms = retry.map(|at| super::status::ms(at - now));
        self.notify(Notice::MessageFailed { failure: trouble, in_a_row, retry_ms });
    }
}

/// Whether two spellings are of one number.
fn same_number(one: &str, other: &str) -> bool {
    one.trim_start_matches('+') == other.trim_start_matches('+')
}
