//! An SMSC that does what the test says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use homeward_daemon::{Metrics, Shutdown};
use homeward_model::Secret;
use homeward_smsc::{Address, Incoming, Outgoing, Resettable, Sender, Settings, SubmitError, open};
use rusmpp::pdus::{BindTransceiverResp, DeliverSm, SubmitSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{EsmClass, Ton};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::Framed;

pub(crate) struct Link<S = TcpStream>(pub(crate) Framed<S, CommandCodec>);

pub(crate) struct World {
    pub(crate) smsc: TcpListener,
    pub(crate) settings: Settings,
    pub(crate) received: mpsc::Receiver<Incoming>,
    pub(crate) sender: Sender,
    pub(crate) shutdown: Shutdown,
    pub(crate) figures: Arc<Metrics>,
    pub(crate) resettable: Resettable,
    pub(crate) running: JoinHandle<()>,
}

/// A session that waits for the SMSC of the test; pauses are short.
pub(crate) async fn world(change: impl FnOnce(&mut Settings)) -> World {
    let smsc = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings {
        smsc: smsc.local_addr().unwrap().to_string(),
        system_id: "homeward".to_owned(),
        password: Secret::new(b"hush".to_vec()),
        pause: Duration::from_millis(10),
        ..Settings::default()
    };
    change(&mut settings);
    let mut metrics = Metrics::new("test", "0");
    let (received, sender, run, resettable) = open(settings.clone(), &mut metrics).unwrap();
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run.run(shutdown.clone()));
    let figures = metrics.share();
    World { smsc, settings, received, sender, shutdown, figures, resettable, running }
}

impl World {
    /// Takes a connection, and answers its bind with that.
    pub(crate) async fn accept(&self, status: CommandStatus) -> Link {
        let (stream, _) = self.smsc.accept().await.unwrap();
        Link::greet(stream, status, "hush").await
    }

    pub(crate) async fn bound(&self) -> Link {
        let link = self.accept(CommandStatus::EsmeRok).await;
        assert!(self.sender.until_bound(true).await);
        link
    }

    /// Submits in the background.
    pub(crate) fn submit(&self, octets: &[u8]) -> JoinHandle<Result<String, SubmitError>> {
        let (sender, message) = (self.sender.clone(), message(octets.to_vec()));
        tokio::spawn(async move { sender.submit(message).await })
    }

    pub(crate) fn counted(&self, line: &str) {
        let text = self.figures.text();
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(crate) async fn greet(stream: S, status: CommandStatus, password: &str) -> Self {
        let mut link = Self(Framed::new(stream, CommandCodec::new()));
        let bind = link.hear().await;
        let Some(Pdu::BindTransceiver(said)) = bind.pdu() else { panic!("{bind:?}") };
        assert_eq!((said.system_id.as_str(), said.password.as_str()), ("homeward", password));
        let answer = BindTransceiverResp::default();
        link.say(Command::new(status, bind.sequence_number(), answer)).await;
        link
    }

    pub(crate) async fn hear(&mut self) -> Command {
        self.0.next().await.expect("the session ended").unwrap()
    }

    pub(crate) async fn say(&mut self, command: Command) {
        self.0.send(command).await.unwrap();
    }

    /// Says a PDU that is not well-formed, or has no body.
    pub(crate) async fn say_raw(&mut self, id: u32, status: u32, sequence: u32, body: &[u8]) {
        let len = u32::try_from(16 + body.len()).unwrap();
        let head = [len, id, status, sequence].map(u32::to_be_bytes).concat();
        self.0.get_mut().write_all(&[&head, body].concat()).await.unwrap();
    }

    /// Asks whether the other side is there; nothing but the same question comes before its answer.
    pub(crate) async fn nothing_else(&mut self) {
        self.say(Command::new(CommandStatus::EsmeRok, 4711, Pdu::EnquireLink)).await;
        let mut said = self.hear().await;
        while said.id() == CommandId::EnquireLink {
            said = self.hear().await;
        }
        assert_eq!((said.id(), said.sequence_number()), (CommandId::EnquireLinkResp, 4711));
    }

    pub(crate) async fn hear_submit(&mut self) -> (Command, SubmitSm) {
        let said = self.hear().await;
        let Some(Pdu::SubmitSm(submit)) = said.pdu() else { panic!("{said:?}") };
        let submit = submit.clone();
        (said, submit)
    }

    /// Answers a submit_sm.
    pub(crate) async fn answer(&mut self, request: &Command, status: CommandStatus, id: &str) {
        let id = COctetString::from_string(id.to_owned()).unwrap();
        let answer = SubmitSmResp::builder().message_id(id).build();
        self.say(Command::new(status, request.sequence_number(), answer)).await;
    }

    /// Hears the answer to a deliver_sm.
    pub(crate) async fn delivered(&mut self) -> (u32, CommandStatus) {
        let said = self.hear().await;
        assert_eq!(said.id(), CommandId::DeliverSmResp);
        (said.sequence_number(), said.status())
    }

    pub(crate) async fn is_closed(&mut self) {
        assert!(self.0.next().await.is_none());
    }
}

pub(crate) fn deliver_pdu(text: &[u8], esm_class: u8) -> DeliverSm {
    DeliverSm::builder()
        .source_addr_ton(Ton::International)
        .source_addr(COctetString::from_string("491701234567".to_owned()).unwrap())
        .esm_class(EsmClass::from(esm_class))
        .short_message(OctetString::from_slice(text).unwrap())
        .build()
}

pub(crate) fn deliver(sequence: u32, text: &[u8], esm_class: u8) -> Command {
    Command::new(CommandStatus::EsmeRok, sequence, deliver_pdu(text, esm_class))
}

pub(crate) fn message(octets: Vec<u8>) -> Outgoing {
    Outgoing {
        from: Address { ton: 0, npi: 0, number: "4444".to_owned() },
        to: Address::of("491701234567".parse().unwrap()),
        esm_class: 0,
        data_coding: 0,
        octets: octets.into(),
        wants_receipt: true,
        validity: None,
    }
}
