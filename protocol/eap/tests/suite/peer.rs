//! A peer against the server, both in memory.

use std::sync::Arc;

pub(crate) use homeward_eap::testing::peer::{Binding, Odd, Peer, Within};
use homeward_eap::testing::peer::{
    Device,
    rustls::{self, ClientConfig, RootCertStore},
};
use homeward_eap::{
    Accepted, Context, Conversation, Ignored, Method, Origin, Rejected, Step, packet,
};
use homeward_model::Instant;

use crate::world::{ALICE, Authority, Certified, Counted, PASSWORD, People};

/// How a conversation went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Box<Accepted<String>>, Box<Rejected>>,
    /// The lengths of the requests.
    pub(crate) requests: Vec<usize>,
    /// The peer's MSK, if its tunnel stood.
    pub(crate) msk: Option<[u8; 64]>,
    /// Whether the peer heard a protected yes (RFC 9190, or PEAP's result).
    pub(crate) heard: Option<bool>,
    /// The cipher suite that was agreed on.
    pub(crate) cipher: Option<rustls::CipherSuite>,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn accepted(&self) -> &Accepted<String> {
        self.result.as_ref().unwrap()
    }

    #[track_caller]
    pub(crate) fn rejected(&self) -> &Rejected {
        self.result.as_ref().unwrap_err()
    }
}

/// The client side of TLS, trusting `authority`.
pub(crate) fn tls(
    authority: &Authority,
    client: Option<&Certified>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
    Arc::new(match client {
        Some(client) => {
            builder.with_client_auth_cert(vec![client.certificate.clone()], client.key()).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

/// A peer that knows Alice's password.
pub(crate) fn peer(method: Method, within: Within, tls: Arc<ClientConfig>) -> Peer {
    Peer {
        method,
        within,
        outer: "anonymous@example.org".to_owned(),
        identity: ALICE.to_owned(),
        domain: "HOME\\",
        password: PASSWORD.to_owned(),
        server: "radius.example.org",
        fragment: 1000,
        binding: Binding::Answered,
        eager: false,
        repeats: false,
        believes: true,
        odd: Odd::Nothing,
        tls,
    }
}

/// Logs in, without a network between.
pub(crate) trait LogsIn {
    /// Logs in.
    fn run(&self, context: &Arc<Context>, origin: Origin, people: &People, now: Instant)
    -> Outcome;

    /// Begins to log in, and falls silent when it has got this many requests.
    fn run_until(
        &self,
        context: &Arc<Context>,
        origin: Origin,
        people: &People,
        requests: usize,
    ) -> Conversation<String>;
}

impl LogsIn for Peer {
    fn run(
        &self,
        context: &Arc<Context>,
        origin: Origin,
        people: &People,
        now: Instant,
    ) -> Outcome {
        let mut conversation = Conversation::new(context, origin, now);
        let outcome = converse(self, &mut conversation, people, now, usize::MAX);
        outcome.expect("the conversation came to its end")
    }

    fn run_until(
        &self,
        context: &Arc<Context>,
        origin: Origin,
        people: &People,
        requests: usize,
    ) -> Conversation<String> {
        let mut conversation = Conversation::new(context, origin, Instant::ORIGIN);
        let outcome = converse(self, &mut conversation, people, Instant::ORIGIN, requests);
        assert!(outcome.is_none(), "{outcome:?}");
        conversation
    }
}

fn outcome(
    device: &Device<'_>,
    result: Result<Box<Accepted<String>>, Box<Rejected>>,
    requests: Vec<usize>,
) -> Option<Outcome> {
    let (msk, heard, cipher) = (device.msk(), device.heard(), device.cipher());
    Some(Outcome { result, requests, msk, heard, cipher })
}

fn converse(
    peer: &Peer,
    conversation: &mut Conversation<String>,
    people: &People,
    now: Instant,
    most: usize,
) -> Option<Outcome> {
    let mut entropy = Counted(7);
    let mut device = Device::new(peer).unwrap();
    let mut requests = Vec::new();
    let mut response = device.identity();
    loop {
        let mut step = conversation.handle(&response, people, now, &mut entropy);
        if let Step::Check(check) = &step {
            if peer.repeats {
                let again = conversation.handle(&response, people, now, &mut entropy);
                assert!(matches!(again, Step::Ignore(Ignored::Checking)), "{again:?}");
            }
            let password =
                check.subject.as_ref().map(|subject| people.users[subject].password.clone());
            let right = password.is_some_and(|p| p.as_bytes() == check.password.expose());
            step = conversation.checked(right, people);
        }
        let request = match step {
            Step::Challenge(request) => request,
            Step::Accept(accepted) => {
                assert_eq!(accepted.packet, packet::success(response[1]));
                return outcome(&device, Ok(accepted), requests);
            }
            Step::Reject(rejected) => {
                assert_eq!(rejected.packet, packet::failure(response[1]));
                return outcome(&device, Err(rejected), requests);
            }
            step => panic!("{step:?}"),
        };
        if peer.repeats {
            let again = conversation.handle(&response, people, now, &mut entropy);
            assert!(matches!(again, Step::Challenge(again) if again == request));
        }
        requests.push(request.len());
        if requests.len() == most {
            return None;
        }
        response = device.answer(&request).unwrap();
    }
}
