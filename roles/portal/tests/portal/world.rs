//! A portal over a datastore in memory, and bearers that are said to be live.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_daemon::{Metrics, SystemClock};
use homeward_http::{Handler, Peer};
use homeward_model::{
    AccountId, Apn, Coverage, Imsi, Mac, Msisdn, OffloadPolicy, PolicyScope, ServiceTerms, Status,
    Subscriber,
};
use homeward_offload::wire::{CredentialAnswer, CredentialRequest, Limits, Reply, json};
use homeward_portal::committer::Committer;
use homeward_portal::desk::{Desk, Held, Outcome, Source, Terms, Whose};
use homeward_portal::figures::Figures;
use homeward_portal::handoff::{Enrols, Handoff};
use homeward_portal::routes::Portal;
use homeward_store::{MemoryStore, NewAccount, NewClass, NewSubscriber, Store, Way};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::header::HeaderMap;
use zeroize::Zeroizing;

pub(crate) const IMSI: &str = "999700123456789";
pub(crate) const OTHER: &str = "999700123456780";
pub(crate) const ADDRESS: &str = "10.1.0.7";
pub(crate) const REALM: &str = "wlan.example.net";

/// The bearers.
#[derive(Default)]
pub(crate) struct Bearers(Mutex<BTreeMap<IpAddr, (Held, Option<Msisdn>)>>);

impl Bearers {
    pub(crate) fn live(&self, address: &str, imsi: &str, number: Option<&str>) {
        let held = Held { imsi: imsi.parse().unwrap(), imei: None };
        let number = number.map(|number| number.parse().unwrap());
        self.0.lock().unwrap().insert(address.parse().unwrap(), (held, number));
    }

    pub(crate) fn with_imei(&self, address: &str, imei: &str) {
        let mut all = self.0.lock().unwrap();
        let (held, _) = all.get_mut(&address.parse().unwrap()).unwrap();
        held.imei = Some(imei.parse().unwrap());
    }

    pub(crate) fn ends(&self, address: &str) {
        self.0.lock().unwrap().remove(&address.parse().unwrap());
    }
}

impl Whose for Bearers {
    fn at(&self, address: IpAddr, apn: Option<&Apn>) -> Option<Held> {
        assert_eq!(apn.map(Apn::as_str), Some("internet"));
        self.0.lock().unwrap().get(&address).map(|(held, _)| held.clone())
    }

    fn of_number(&self, number: Msisdn) -> Option<Held> {
        let all = self.0.lock().unwrap();
        let found = all.values().find(|(_, other)| *other == Some(number));
        found.map(|(held, _)| held.clone())
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bearers: Arc<Bearers>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) portal: Portal,
    pub(crate) metrics: Metrics,
    pub(crate) figures: Figures,
    pub(crate) account: AccountId,
}

/// What a client is answered.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn credentials(&self) -> CredentialAnswer {
        match json::decode_reply(&self.body, Limits::REPLY) {
            Ok(Reply::Credentials(answer)) => *answer,
            other => panic!("{}: {other:?}", self.status),
        }
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(None, 0).await
    }

    pub(crate) async fn start_with(payer: Option<&str>, requests_per_minute: u32) -> Self {
        Self::start_as(payer, requests_per_minute, None).await
    }

    /// One that gives hand-off keys, with the subscriber of [`IMSI`].
    pub(crate) async fn that_enrols(enrols: Arc<dyn Enrols>) -> Self {
        let world = Self::start_as(None, 0, Some(enrols)).await;
        world.subscriber(IMSI).await;
        world
    }

    async fn start_as(
        payer: Option<&str>,
        requests_per_minute: u32,
        handoff: Option<Arc<dyn Enrols>>,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let (coverage, terms) = (Coverage::default(), ServiceTerms::default());
        let class = NewClass { name: "gold".parse().unwrap(), coverage, terms, retention: None };
        let class = store.create_class(&class).await.unwrap().id;
        let (name, status) = ("smith".parse().unwrap(), Status::Active);
        let account = store.create_account(&NewAccount { name, class, status }).await.unwrap().id;
        let mut metrics = Metrics::new("core", "1");
        let figures = Figures::new(&mut metrics);
        let (committer, committing) = Committer::new();
        tokio::spawn(committing.run(Arc::clone(&store)));
        let bearers = Arc::new(Bearers::default());
        let terms = Terms {
            realm: REALM.parse().unwrap(),
            settings: homeward_offload::issuing::Settings::default(),
            unknown_subscribers: payer.map(|name| name.parse().unwrap()),
            handoff: handoff.map(|enrols| Handoff {
                enrols,
                names: Zeroizing::new([5; 32]),
                wait: Duration::ZERO,
            }),
        };
        let whose: Arc<dyn Whose> = Arc::clone(&bearers) as _;
        let desk = Desk::new(terms, Arc::clone(&store), whose, committer, figures.clone());
        let desk = Arc::new(desk.await.unwrap());
        let portal = Portal::new(Arc::clone(&desk), requests_per_minute, figures.clone());
        let world = Self { store, bearers, desk, portal, metrics, figures, account };
        world.policy(|_| {}).await;
        world.bearers.live(ADDRESS, IMSI, Some("447700900123"));
        world
    }

    /// One with the subscriber of [`IMSI`].
    pub(crate) async fn with_subscriber() -> Self {
        let world = Self::start().await;
        world.subscriber(IMSI).await;
        world
    }

    pub(crate) async fn subscriber(&self, imsi: &str) -> Subscriber {
        let new = NewSubscriber {
            imsi: imsi.parse().unwrap(),
            msisdn: None,
            account: self.account,
            label: String::new(),
            status: Status::Active,
        };
        self.store.create_subscriber(&new).await.unwrap()
    }

    /// Sets the default policy, changed in that way.
    pub(crate) async fn policy(&self, change: impl FnOnce(&mut OffloadPolicy)) {
        let text = r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#;
        let mut policy: OffloadPolicy = serde_json::from_str(text).unwrap();
        change(&mut policy);
        self.store.set_policy(PolicyScope::Default, &policy).await.unwrap();
    }

    /// Has the handler answer a request from that address.
    pub(crate) async fn send(
        &self,
        from: &str,
        what: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Said {
        let (method, path) = what.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let apn = Some("internet".parse().unwrap());
        let peer = Peer { address: from.parse().unwrap(), apn };
        let answer = match self.portal.admit(&peer, &head) {
            Ok(()) => self.portal.answer(&peer, head, body.to_vec().into()).await,
            Err(refused) => *refused,
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Said { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Asks in JSON.
    pub(crate) async fn ask(&self, from: &str, request: &CredentialRequest) -> Said {
        let body = json::encode_request(request);
        let headers = [("content-type", "application/json")];
        self.send(from, "POST /offload/v1/credentials", &headers, &body).await
    }

    /// Asks by message.
    pub(crate) async fn message(
        &self,
        number: &str,
        request: &CredentialRequest,
    ) -> Option<CredentialAnswer> {
        let source = Source::Number(number.parse().unwrap());
        match self.desk.ask(&source, request, Way::Sms, "sms").await {
            Outcome::Given(answer) => Some(*answer),
            Outcome::Refused => None,
            Outcome::Failed => panic!("it failed"),
        }
    }

    /// How often that was the outcome.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        self.figures.status()[outcome].as_u64().unwrap_or(0)
    }
}

pub(crate) fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0x5e, 0x10, 0, last])
}

pub(crate) fn request(imsi: &str, last: u8) -> CredentialRequest {
    let imsi: Imsi = imsi.parse().unwrap();
    CredentialRequest { imsi, imei: None, mac: mac(last), previous: None, handoff: false }
}
