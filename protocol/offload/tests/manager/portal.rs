//! The portal, as it is reached over a bearer and by short message.

use std::time::Duration;

use homeward_model::{Imsi, Instant, Mac, Secret, UnixTime, WlanPolicy};
use homeward_offload::manager::settings::Messages;
use homeward_offload::manager::{Answer, Failure, MessageId, Request, RequestId, Trouble};
use homeward_offload::wire::sms;
use homeward_offload::wire::{CredentialAnswer, CredentialRequest, HandoffKeys, Refused};

use crate::words::{HOUR, ms, s};
use crate::world::{Coming, World};

/// Who is asked by message.
pub(crate) const NUMBER: &str = "+447700900999";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Refuses,
    Away,
    Garbles,
    Busy,
    Silent,
}

#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) mood: Mood,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) window: Duration,
    pub(crate) one_time: bool,
    /// Whether its answers say what time it is.
    pub(crate) dated: bool,
    pub(crate) policy: WlanPolicy,
    /// What is issued now: user name, end, begin of renewal, to whom, spent.
    pub(crate) issued: Option<Issue>,
    pub(crate) count: u32,
    /// Whether it gives hand-off keys, and how often it has.
    pub(crate) enrols: bool,
    pub(crate) roots: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) name: String,
    expires: Option<UnixTime>,
    renew_from: Option<UnixTime>,
    to: (Imsi, Mac),
    pub(crate) one_time: bool,
    pub(crate) spent: bool,
}

/// What becomes of short messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Post {
    /// The portal answers.
    Answers,
    /// It refuses, and says so.
    Refuses,
    /// What it says is cut.
    Garbles,
    /// Nothing comes back.
    Silent,
    /// The network takes nothing.
    Unsent,
    /// The modem never says what became of it.
    Stuck,
}

/// How many messages may be sent a day in these tests, and how far apart.
pub(crate) fn messages() -> Messages {
    Messages { per_day: 4, ..Messages::at(NUMBER.to_owned()) }
}

/// What there is of the post.
#[derive(Debug)]
pub(crate) struct PostOffice {
    pub(crate) mood: Post,
    /// What was sent, and when.
    pub(crate) sent: Vec<(Instant, String)>,
    /// How long an answer is on its way.
    pub(crate) way: Duration,
}

impl Default for PostOffice {
    fn default() -> Self {
        Self { mood: Post::Answers, sent: Vec::new(), way: s(8) }
    }
}

/// What a message asks.
fn request(text: &str) -> Request {
    let asked = sms::decode_request(text).unwrap();
    let CredentialRequest { imsi, imei, mac, previous, handoff } = asked;
    Request { imsi, imei, mac, previous, handoff }
}

impl World {
    pub(crate) fn portal_answers(&mut self, id: RequestId, request: &Request) {
        let result = match self.portal.mood {
            Mood::Answers => Ok(self.issue(request)),
            Mood::Refuses => Err(Failure::Refused),
            Mood::Away => Err(Failure::Away("connection refused".to_owned())),
            Mood::Garbles => Err(Failure::Invalid("no JSON".to_owned())),
            Mood::Busy => Err(Failure::Busy(Some(s(30)))),
            Mood::Silent => return,
        };
        self.reply(id, result);
    }

    pub(crate) fn reply(&mut self, id: RequestId, result: Result<Answer, Failure>) {
        self.open_requests.retain(|(open, _)| *open != id);
        self.m.handle_portal(id, result, self.now);
        self.drain();
    }

    /// The same again while it is good and has not to be renewed, others otherwise.
    pub(crate) fn issue(&mut self, request: &Request) -> Answer {
        let (lifetime, one_time) = (self.portal.lifetime, self.portal.one_time);
        self.issue_with(request, lifetime, one_time)
    }

    /// As [`issue`](Self::issue), of another kind. What is good for longer, or oftener, ends.
    fn issue_with(
        &mut self,
        request: &Request,
        lifetime: Option<Duration>,
        one_time: bool,
    ) -> Answer {
        let (truth, to) = (self.truth(), (request.imsi, request.mac));
        let portal = &mut self.portal;
        let good = portal.issued.clone().filter(|issue| {
            issue.to == to
                && !issue.spent
                && (issue.one_time || !one_time)
                && issue.renew_from.is_none_or(|from| from > truth)
        });
        let issue = good.unwrap_or_else(|| {
            portal.count += 1;
            let window = portal.window;
            let after =
                |span: Duration| UnixTime(truth.0 + i64::try_from(span.as_millis()).unwrap());
            Issue {
                name: format!("p{}@wifi.example.net", portal.count),
                expires: lifetime.map(after),
                renew_from: lifetime.map(|span| after(span.saturating_sub(window))),
                to,
                one_time,
                spent: false,
            }
        });
        portal.issued = Some(issue.clone());
        let handoff = (portal.enrols && request.handoff).then(|| {
            portal.roots += 1;
            let (name, root) = ("h@wifi.example.net".parse().unwrap(), Secret::new([7; 32]));
            HandoffKeys { name, root, version: portal.roots }
        });
        Answer {
            username: issue.name.parse().unwrap(),
            password: Secret::new(issue.name.as_bytes()),
            expires: issue.expires,
            renew_from: issue.renew_from,
            one_time: issue.one_time,
            policy: portal.policy.clone(),
            date: portal.dated.then_some(truth),
            handoff,
        }
    }

    /// A message is to be sent; what has to hold of it is checked.
    pub(crate) fn sends(&mut self, id: MessageId, to: &str, text: &str) {
        let settings = self.m.settings().messages.clone().unwrap();
        assert_eq!(to, NUMBER);
        assert!(self.modem.messages, "sent though none can be");
        assert!(self.switches.offload, "sent though it is switched off");
        assert!(sms::nonce(text).is_some(), "without a nonce");
        let request = request(text);
        assert_eq!(Some(request.imsi), self.modem.imsi);
        let over_bearer = self.m.status().portal;
        assert_eq!(over_bearer.asking, None, "the portal is being asked");
        let away = over_bearer.trouble == Some(Trouble::Away);
        assert!(away || !self.modem.bearer, "it could be asked over the bearer");
        let since = |at: Instant| self.now - at;
        if let Some((last, before)) = self.post.sent.last() {
            assert!(since(*last) >= settings.retry / 2, "{:?} after the last", since(*last));
            assert_ne!(sms::nonce(before), sms::nonce(text), "a nonce is used once");
        }
        self.post.sent.push((self.now, text.to_owned()));
        let day = self.post.sent.iter().filter(|(at, _)| since(*at) < 24 * HOUR).count();
        assert!(day <= usize::from(settings.per_day), "{day} messages in a day");
        let sent = match self.post.mood {
            Post::Unsent => Err("network out of order".to_owned()),
            Post::Stuck => return,
            _ => Ok(()),
        };
        self.soon(s(2), Coming::Sent(id, sent));
        let nonce = sms::nonce(text);
        let said = match self.post.mood {
            Post::Answers => {
                let answer = self.answer_by_message(&request);
                sms::with_nonce(answer, nonce)
            }
            Post::Refuses => sms::with_nonce(sms::encode_refused(Refused).into(), nonce),
            Post::Garbles => sms::with_nonce("HW1 A p1*wifi".to_owned().into(), nonce),
            Post::Silent | Post::Unsent | Post::Stuck => return,
        };
        self.soon(self.post.way, Coming::Message(NUMBER.to_owned(), said.to_string()));
    }

    /// What the portal says by message: good once, and for an hour.
    pub(crate) fn answer_by_message(&mut self, request: &Request) -> zeroize::Zeroizing<String> {
        let most = self.portal.lifetime.map_or(HOUR, |lifetime| lifetime.min(HOUR));
        let answer = self.issue_with(request, Some(most), true);
        sms::encode_answer(&CredentialAnswer {
            username: answer.username,
            password: answer.password,
            expires: answer.expires,
            renew_from: answer.renew_from,
            one_time: answer.one_time,
            policy: answer.policy,
            handoff: None,
        })
        .unwrap()
    }

    /// What was last asked by message.
    pub(crate) fn requested(&self) -> Request {
        let text = &self.post.sent.last().unwrap().1;
        request(text)
    }

    /// A message comes.
    pub(crate) fn message(&mut self, from: &str, text: &str) {
        self.m.handle_message(from, text, self.now);
        self.drain();
    }

    /// Messages come and go, or do not.
    pub(crate) fn messages(&mut self, whether: bool) {
        self.modem.messages = whether;
        self.tell_modem();
    }

    /// Somebody makes up credentials that open somebody else's network.
    pub(crate) fn forged(&self, nonce: Option<sms::Nonce>) -> String {
        let answer = CredentialAnswer {
            username: "evil@evil.example".parse().unwrap(),
            password: Secret::new("evil"),
            expires: None,
            renew_from: None,
            one_time: false,
            policy: serde_json::from_str(
                r#"{"networks":[{"ssid":"Evil"}],"server_name":"evil.example"}"#,
            )
            .unwrap(),
            handoff: None,
        };
        sms::with_nonce(sms::encode_answer(&answer).unwrap(), nonce).to_string()
    }

    /// Runs until a message was sent, and gives how long that took.
    pub(crate) fn until_sent(&mut self, most: Duration) -> Duration {
        let before = self.post.sent.len();
        self.until(most + ms(100), |w| w.post.sent.len() > before)
    }
}
