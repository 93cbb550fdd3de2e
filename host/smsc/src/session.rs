//! One session.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use homeward_daemon::{Shutdown, SystemClock};
use homeward_model::{Clock, Instant};
use rusmpp::pdus::{BindTransceiver, DeliverSm, DeliverSmResp};
use rusmpp::types::COctetString;
use rusmpp::values::InterfaceVersion;
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::codec::Framed;

use crate::codec::{Codec, Header, Read};
use crate::error::{Error, SubmitError, explain};
use crate::message::{Ack, Incoming};
use crate::run::{Job, Smsc};
use crate::settings::Settings;

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// A connection that is bound.
pub(crate) struct Link(Framed<Pin<Box<dyn Stream>>, Codec>);

impl Link {
    async fn send(&mut self, command: Command, patience: Duration) -> Result<(), Error> {
        match timeout(patience, self.0.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unsent { reason: error.to_string() }),
            Err(_) => Err(silent("take what it is sent", patience)),
        }
    }

    /// Cancelling it loses nothing.
    async fn receive(&mut self) -> Result<Read, Error> {
        match self.0.next().await {
            Some(Ok(read)) => Ok(read),
            Some(Err(error)) => Err(Error::Unreadable { reason: error.to_string() }),
            None => Err(Error::Closed),
        }
    }
}

fn silent(what: &'static str, patience: Duration) -> Error {
    Error::Silent { what, seconds: patience.as_secs() }
}

/// Connects and binds as a transceiver.
pub(crate) async fn bind(settings: &Settings) -> Result<Link, Error> {
    let patience = settings.connect_timeout;
    timeout(patience, bind_patiently(settings))
        .await
        .unwrap_or_else(|_| Err(silent("accept a bind", patience)))
}

async fn bind_patiently(settings: &Settings) -> Result<Link, Error> {
    let smsc = || settings.smsc.clone();
    let stream = TcpStream::connect(&settings.smsc).await;
    let stream = stream.map_err(|source| Error::Connect { smsc: smsc(), source })?;
    stream.set_nodelay(true).map_err(|source| Error::Connect { smsc: smsc(), source })?;
    let stream: Pin<Box<dyn Stream>> = match &settings.tls {
        None => Box::pin(stream),
        Some(tls) => {
            let connector = TlsConnector::from(tls.config.clone());
            let stream = connector.connect(tls.name.clone(), stream).await;
            Box::pin(stream.map_err(|source| Error::Tls { smsc: smsc(), source })?)
        }
    };
    let mut link = Link(Framed::new(stream, Codec::default()));
    let no_room = |setting| Error::Setting { setting, reason: "give less, and ASCII" };
    let request = BindTransceiver::builder()
        .system_id(text(&settings.system_id).ok_or_else(|| no_room("system_id"))?)
        .password(
            COctetString::from_vec([settings.password.expose(), &[0]].concat())
                .map_err(|_| no_room("password"))?,
        )
        .system_type(text(&settings.system_type).ok_or_else(|| no_room("system_type"))?)
        .interface_version(InterfaceVersion::Smpp3_4)
        .address_range(text(&settings.address_range).ok_or_else(|| no_room("address_range"))?)
        .build();
    let request = Command::new(CommandStatus::EsmeRok, 1, request);
    link.send(request, settings.connect_timeout).await?;
    loop {
        let Header { id, status, sequence } = link.receive().await?.header();
        let is_answer = matches!(id, CommandId::BindTransceiverResp | CommandId::GenericNack);
        if !is_answer || sequence != 1 {
            continue;
        }
        return match (id, status) {
            (CommandId::BindTransceiverResp, CommandStatus::EsmeRok) => Ok(link),
            (_, status) => {
                let system_id = settings.system_id.clone();
                Err(Error::Refused { system_id, status: explain(status) })
            }
        };
    }
}

fn text<const MIN: usize, const MAX: usize>(text: &str) -> Option<COctetString<MIN, MAX>> {
    COctetString::from_string(text.to_owned()).ok()
}

/// A message that was submitted.
struct Pending {
    job: Job,
    deadline: Instant,
}

struct Session<'a> {
    smsc: &'a mut Smsc,
    settings: Arc<Settings>,
    link: Link,
    next: u32,
    pending: BTreeMap<u32, Pending>,
    /// How many messages that came are not answered.
    unanswered: usize,
    answers: mpsc::Sender<(u32, bool)>,
    heard: Instant,
    /// The enquire_link that is not answered, and until when it may be.
    enquiry: Option<Instant>,
    /// Until when nothing is submitted.
    held: Option<Instant>,
    pause: Duration,
}

/// Holds a session until it is lost, or stopped.
pub(crate) async fn hold(
    smsc: &mut Smsc,
    settings: Arc<Settings>,
    link: Link,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let (answers, mut answered) = mpsc::channel(settings.queue);
    let pause = settings.pause;
    let mut session = Session {
        smsc,
        settings,
        link,
        next: 2,
        pending: BTreeMap::new(),
        unanswered: 0,
        answers,
        heard: SystemClock.now(),
        enquiry: None,
        held: None,
        pause,
    };
    let ended = session.run(&mut answered, shutdown).await;
    for (_, Pending { job, .. }) in session.pending {
        session.smsc.figures.submitted("lost");
        let _ = job.answer.send(Err(SubmitError::Lost));
    }
    ended
}

impl Session<'_> {
    async fn run(
        &mut self,
        answered: &mut mpsc::Receiver<(u32, bool)>,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        loop {
            let now = SystemClock.now();
            self.handle_timeout(now).await?;
            let may_submit = self.held.is_none() && self.pending.len() < self.settings.window;
            if may_submit && let Some(job) = self.smsc.again.pop_front() {
                self.submit(job).await?;
                continue;
            }
            let deadline = self.poll_timeout();
            tokio::select! {
                biased;
                () = shutdown.requested() => return self.unbind().await,
                Some((sequence, is_done)) = answered.recv() => {
                    self.answer(sequence, is_done).await?;
                }
                read = self.link.receive() => self.handle(read?).await?,
                job = self.smsc.jobs.recv(), if may_submit => match job {
                    Some(job) => self.submit(job).await?,
                    None => return self.unbind().await,
                },
                () = SystemClock.until(Some(deadline)) => {}
            }
        }
    }

    fn poll_timeout(&self) -> Instant {
        let enquire = self.heard + self.settings.enquire_after;
        let waiting = self.pending.values().map(|pending| pending.deadline);
        let again = self.smsc.again.iter().map(|job| job.until);
        let timers = waiting.chain(again).chain(self.held);
        timers.fold(self.enquiry.unwrap_or(enquire), Instant::min)
    }

    async fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let patience = self.settings.response_timeout;
        self.held = self.held.filter(|held| *held > now);
        self.smsc.give_up(now);
        if self.enquiry.is_some_and(|deadline| deadline <= now) {
            return Err(silent("answer whether it is there", patience));
        }
        if self.pending.values().any(|pending| pending.deadline <= now) {
            return Err(silent("answer a submit_sm", patience));
        }
        if self.enquiry.is_none() && self.heard + self.settings.enquire_after <= now {
            self.enquiry = Some(now + patience);
            let sequence = self.sequence();
            let enquiry = Command::new(CommandStatus::EsmeRok, sequence, Pdu::EnquireLink);
            self.send(enquiry).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, read: Read) -> Result<(), Error> {
        self.heard = SystemClock.now();
        // Whoever speaks is there.
        self.enquiry = None;
        let Header { id, status, sequence } = read.header();
        let pdu = match &read {
            Read::Command(command) => command.pdu(),
            Read::Unreadable(_) => None,
        };
        match (id, pdu) {
            (_, Some(Pdu::DeliverSm(deliver))) => self.delivered(sequence, deliver).await,
            // It would be as unreadable the next time.
            (CommandId::DeliverSm, _) => {
                self.smsc.figures.delivered("unreadable");
                tracing::debug!("the SMSC delivers what is no deliver_sm");
                self.deliver_resp(sequence, CommandStatus::EsmeRxPAppn).await
            }
            (CommandId::SubmitSmResp | CommandId::GenericNack, pdu) => {
                let name = match pdu {
                    Some(Pdu::SubmitSmResp(answer)) => answer.message_id().as_str().to_owned(),
                    _ => String::new(),
                };
                self.submitted(sequence, status, id, name);
                Ok(())
            }
            (CommandId::EnquireLink, _) => self.reply(sequence, Pdu::EnquireLinkResp).await,
            (CommandId::Unbind, _) => {
                self.reply(sequence, Pdu::UnbindResp).await?;
                Err(Error::Closed)
            }
            (CommandId::EnquireLinkResp | CommandId::UnbindResp, _) => Ok(()),
            (CommandId::AlertNotification, _) => Ok(()),
            (id, _) if u32::from(id) & 0x8000_0000 != 0 => Ok(()),
            (id, _) => {
                tracing::debug!(command = format!("{:#010x}", u32::from(id)), "no such command");
                let nack = CommandStatus::EsmeRinvcmdid;
                self.send(Command::new(nack, sequence, Pdu::GenericNack)).await
            }
        }
    }

    async fn delivered(&mut self, sequence: u32, deliver: &DeliverSm) -> Result<(), Error> {
        // As many answers fit into the queue of answers as may be outstanding.
        if self.unanswered >= self.settings.queue {
            self.smsc.figures.delivered("full");
            return self.deliver_resp(sequence, CommandStatus::EsmeRmsgqful).await;
        }
        self.unanswered += 1;
        let incoming = Incoming::read(deliver, Ack::new(sequence, self.answers.clone()));
        if let Some(receipt) = &incoming.receipt {
            self.smsc.figures.receipt(receipt.state.as_str());
        }
        // What does not fit is dropped, and with it answered: later.
        let _ = self.smsc.incoming.try_send(incoming);
        Ok(())
    }

    async fn answer(&mut self, sequence: u32, is_done: bool) -> Result<(), Error> {
        self.unanswered = self.unanswered.saturating_sub(1);
        let (status, word) = match is_done {
            true => (CommandStatus::EsmeRok, "taken"),
            false => (CommandStatus::EsmeRxTAppn, "later"),
        };
        self.smsc.figures.delivered(word);
        self.deliver_resp(sequence, status).await
    }

    async fn deliver_resp(&mut self, sequence: u32, status: CommandStatus) -> Result<(), Error> {
        self.send(Command::new(status, sequence, DeliverSmResp::default())).await
    }

    async fn submit(&mut self, job: Job) -> Result<(), Error> {
        let now = SystemClock.now();
        if job.answer.is_closed() {
            return Ok(());
        }
        let pdu = match job.outgoing.pdu() {
            _ if job.until <= now => Err(SubmitError::TooLate),
            pdu => pdu,
        };
        let pdu = match pdu {
            Ok(pdu) => pdu,
            Err(error) => {
                let _ = job.answer.send(Err(error));
                return Ok(());
            }
        };
        let sequence = self.sequence();
        let deadline = now + self.settings.response_timeout;
        self.pending.insert(sequence, Pending { job, deadline });
        self.send(Command::new(CommandStatus::EsmeRok, sequence, pdu)).await
    }

    fn submitted(&mut self, sequence: u32, status: CommandStatus, id: CommandId, name: String) {
        let Some(Pending { job, .. }) = self.pending.remove(&sequence) else { return };
        match status {
            CommandStatus::EsmeRok if id == CommandId::SubmitSmResp => {
                self.pause = self.settings.pause;
                self.smsc.figures.submitted("taken");
                let _ = job.answer.send(Ok(name));
            }
            CommandStatus::EsmeRthrottled | CommandStatus::EsmeRmsgqful => {
                self.smsc.figures.submitted("throttled");
                // Those of one window are throttled together: that is one throttling.
                if self.held.is_none() {
                    self.held = Some(SystemClock.now() + self.pause);
                    self.pause = (self.pause * 2).min(self.settings.longest_pause);
                }
                self.smsc.again.push_back(job);
            }
            status => {
                self.smsc.figures.submitted("refused");
                let _ = job.answer.send(Err(SubmitError::Refused(explain(status))));
            }
        }
    }

    async fn unbind(&mut self) -> Result<(), Error> {
        let sequence = self.sequence();
        self.send(Command::new(CommandStatus::EsmeRok, sequence, Pdu::Unbind)).await?;
        let answered = async {
            while self.link.receive().await?.header().id != CommandId::UnbindResp {}
            Ok::<(), Error>(())
        };
        // It has been told; whether it says so changes nothing.
        let _ = timeout(self.settings.response_timeout, answered).await;
        Ok(())
    }

    async fn reply(&mut self, sequence: u32, pdu: Pdu) -> Result<(), Error> {
        self.send(Command::new(CommandStatus::EsmeRok, sequence, pdu)).await
    }

    async fn send(&mut self, command: Command) -> Result<(), Error> {
        self.link.send(command, self.settings.response_timeout).await
    }

    fn sequence(&mut self) -> u32 {
        let sequence = self.next;
        self.next = after(sequence);
        sequence
    }
}

/// The sequence_number after that one: 1 to 0x7fffffff (5.1.4).
const fn after(sequence: u32) -> u32 {
    if sequence >= 0x7fff_ffff { 1 } else { sequence + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_last_sequence_number_comes_the_first() {
        assert_eq!([after(1), after(0x7fff_fffe), after(0x7fff_ffff)], [2, 0x7fff_ffff, 1]);
    }
}
