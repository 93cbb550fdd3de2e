//! The source that is ModemManager.
//!
//! Its signals are taken for one thing: something has changed. Then all is asked again, so that
//! what is known depends on no signal having been understood, and a restart of ModemManager is a
//! change as any other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use zbus::{Connection, MatchRule, MessageStream, ObjectPath, OwnedObjectPath, Variant};
use zeroize::Zeroizing;

use crate::facts::{Bearer, Facts};
use crate::message::{Message, Order, SmsError};
use crate::modem::{Bus, Managed};
use crate::network::Network;
use crate::properties::{self, Held, Interfaces, Properties};

const NAME: &str = "org.freedesktop.ModemManager1";
const ROOT: &str = "/org/freedesktop/ModemManager1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const DAEMON: &str = "org.freedesktop.DBus";

/// How long a message may take to be sent: a modem waits for the network, a minute a part.
const SENDING: Duration = Duration::from_secs(300);

/// Runs for as long as it is polled: a bus that is not there is tried again.
pub(crate) async fn run(
    settings: Managed,
    network: Network,
    facts: watch::Sender<Facts>,
    messages: mpsc::Sender<Message>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut told = false;
    loop {
        match connect(&settings.bus).await {
            Ok((connection, changed, _ear)) => {
                told = false;
                let settings = settings.clone();
                let mut work = Work {
                    settings,
                    network: &network,
                    facts: &facts,
                    messages: &messages,
                    connection,
                    metered: BTreeSet::new(),
                    passed: BTreeSet::new(),
                    modem: None,
                };
                work.run(&changed, &mut orders).await;
                tracing::warn!("the bus is gone");
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, "no bus to find ModemManager on: trying again");
            }
            Err(error) => tracing::debug!(%error, "still no bus"),
        }
        publish(&facts, Facts::default());
        // Whoever wants to send something meanwhile is told.
        let refuse = async {
            while let Some(order) = orders.recv().await {
                let _ = order.done.send(Err(SmsError::NoModem));
            }
            std::future::pending::<()>().await;
        };
        let _ = timeout(settings.retry, refuse).await;
    }
}

/// A task that ends with its owner.
struct Ear(tokio::task::AbortHandle);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to the bus and listens to ModemManager's coming, going and doing.
async fn connect(bus: &Bus) -> zbus::Result<(Connection, Arc<Notify>, Ear)> {
    let builder = match bus {
        Bus::System => zbus::connection::Builder::system(),
        Bus::Address(address) => zbus::connection::Builder::address(address.as_str()),
    };
    let connection = builder.method_timeout(SENDING).build().await?;
    let room = NonZeroUsize::new(64);
    let rule = MatchRule::builder().msg_type(zbus::message::Type::Signal).sender(NAME).build()?;
    let doing = MessageStream::for_match_rule(rule, &connection, room).await?;
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(DAEMON)
        .member("NameOwnerChanged")
        .add_arg(NAME)
        .build()?;
    let coming = MessageStream::for_match_rule(rule, &connection, room).await?;
    let changed = Arc::new(Notify::new());
    changed.notify_one();
    let ring = Arc::clone(&changed);
    // On a task of its own: a stream that is not read would hold up the answers as well.
    let ear = tokio::spawn(async move {
        let mut all = doing.merge(coming);
        while all.next().await.is_some() {
            ring.notify_one();
        }
    });
    Ok((connection, changed, Ear(ear.abort_handle())))
}

fn publish(facts: &watch::Sender<Facts>, now: Facts) {
    facts.send_if_modified(|before| {
        let changed = *before != now;
        if changed {
            *before = now;
        }
        changed
    });
}

/// The work on one bus.
struct Work<'a> {
    settings: Managed,
    network: &'a Network,
    facts: &'a watch::Sender<Facts>,
    messages: &'a mpsc::Sender<Message>,
    connection: Connection,
    /// Modems that were asked to measure their signal.
    metered: BTreeSet<String>,
    /// Messages that are no business of ours.
    passed: BTreeSet<String>,
    /// The modem that is watched.
    modem: Option<OwnedObjectPath>,
}

impl Work<'_> {
    /// Returns when the bus is gone.
    async fn run(&mut self, changed: &Notify, orders: &mut mpsc::Receiver<Order>) {
        let bus = self.connection.clone();
        let mut orders_come = true;
        loop {
            tokio::select! {
                () = bus.closed() => return,
                () = changed.notified() => self.look(changed).await,
                heard = self.network.changed() => match heard {
                    Ok(()) => self.look(changed).await,
                    Err(error) => {
                        tracing::error!(%error, "interfaces are not watched any more");
                        return std::future::pending().await;
                    }
                },
                order = orders.recv(), if orders_come => match order {
                    Some(order) => self.send(order),
                    None => orders_come = false,
                },
            }
        }
    }

    /// Asks for all there is to know, and tells.
    async fn look(&mut self, changed: &Notify) {
        match timeout(self.settings.patience, self.ask()).await {
            Ok(Ok(facts)) => publish(self.facts, facts),
            // It went while it was asked, which is told as a change of its own.
            Ok(Err(error)) => {
                tracing::debug!(%error, "ModemManager did not say what it knows");
                if !self.is_there().await {
                    self.modem = None;
                    publish(self.facts, Facts::default());
                }
            }
            // What was known may not be true any more.
            Err(_) => {
                tracing::warn!("ModemManager does not answer");
                publish(self.facts, Facts::default());
                changed.notify_one();
            }
        }
    }

    async fn ask(&mut self) -> zbus::Result<Facts> {
        if !self.is_there().await {
            (self.modem, self.metered, self.passed) = Default::default();
            return Ok(Facts::default());
        }
        let reply = self
            .connection
            .call_method(
                Some(NAME),
                ROOT,
                Some("org.freedesktop.DBus.ObjectManager"),
                "GetManagedObjects",
                &(),
            )
            .await?;
        let all: HashMap<OwnedObjectPath, Interfaces> = reply.body().deserialize()?;
        let mut all: Vec<_> = all.into_iter().collect();
        // As they were found: the number is the end of the path.
        all.sort_by(|(a, _), (b, _)| (a.len(), a.as_str()).cmp(&(b.len(), b.as_str())));
        let mut modems = all.into_iter().map(|(path, all)| (path, properties::modem(all)));
        let wanted = |imei: &homeward_model::Imei, modem: &properties::Managed| {
            modem.facts.imei.is_some_and(|its| its.same_equipment(imei))
        };
        let found = match &self.settings.imei {
            Some(imei) => modems.find(|(_, modem)| wanted(imei, modem)),
            None => modems.next(),
        };
        let Some((path, mut modem)) = found else {
            self.modem = None;
            return Ok(Facts { manager: true, modem: None });
        };
        self.modem = Some(path.clone());
        if let Some(sim) = &modem.sim {
            let mut sim = self.properties(sim, "org.freedesktop.ModemManager1.Sim").await?;
            let imsi: Option<String> = properties::take(&mut sim, "Imsi");
            modem.facts.imsi = imsi.and_then(|text| text.parse().ok());
        }
        for bearer in &modem.bearers {
            let about = self.properties(bearer, "org.freedesktop.ModemManager1.Bearer").await?;
            if let Some((interface, apn)) = properties::bearer(about) {
                let interface = self.settings.interface.clone().unwrap_or(interface);
                let addresses = self.network.addresses(&interface).await;
                modem.facts.bearer = Some(Bearer { interface, addresses, apn });
                break;
            }
        }
        if modem.idle_meter
            && self.settings.signal_every > 0
            && self.metered.insert(path.to_string())
        {
            self.meter(&path).await;
        }
        if let Some(held) = modem.messages {
            self.fetch(&path, held).await;
        }
        Ok(Facts { manager: true, modem: Some(modem.facts) })
    }

    /// Whether ModemManager is there. It is not started by this, as by any other question.
    async fn is_there(&self) -> bool {
        let asked = self.connection.call_method(
            Some(DAEMON),
            "/org/freedesktop/DBus",
            Some(DAEMON),
            "NameHasOwner",
            &NAME,
        );
        match asked.await {
            Ok(reply) => reply.body().deserialize().unwrap_or_default(),
            Err(_) => false,
        }
    }

    async fn properties(&self, of: &ObjectPath<'_>, interface: &str) -> zbus::Result<Properties> {
        let asked =
            self.connection.call_method(Some(NAME), of, Some(PROPERTIES), "GetAll", &interface);
        asked.await?.body().deserialize()
    }

    /// Has a modem measure its signal. Not all can.
    async fn meter(&self, modem: &ObjectPath<'_>) {
        let asked = self.connection.call_method(
            Some(NAME),
            modem,
            Some("org.freedesktop.ModemManager1.Modem.Signal"),
            "Setup",
            &self.settings.signal_every,
        );
        if let Err(error) = asked.await {
            tracing::debug!(%error, "the modem does not measure its signal");
        }
    }

    /// Hands on messages that are whole and for us, and takes them off the modem.
    async fn fetch(&mut self, modem: &ObjectPath<'_>, held: Vec<OwnedObjectPath>) {
        self.passed.retain(|path| held.iter().any(|held| held.as_str() == path));
        for path in held {
            if self.settings.messages_from.is_empty() || self.passed.contains(path.as_str()) {
                continue;
            }
            let about = self.properties(&path, "org.freedesktop.ModemManager1.Sms").await;
            match about.map(properties::message) {
                Ok(Held::Came(from, text)) if self.is_for_us(&from) => {
                    let message = Message { from, text: Zeroizing::new(text) };
                    // One that finds no room stays where it is until something changes.
                    if self.messages.try_send(message).is_ok() {
                        delete(&self.connection, modem, &path).await;
                        self.passed.insert(path.to_string());
                    }
                }
                Ok(Held::Came(..) | Held::Other) => {
                    self.passed.insert(path.to_string());
                }
                // It is asked about again when more of it has come.
                Ok(Held::Coming) => {}
                Err(error) => tracing::debug!(%error, "a message cannot be read"),
            }
        }
    }

    fn is_for_us(&self, from: &str) -> bool {
        self.settings.messages_from.iter().any(|number| number.is(from))
    }

    /// Sends a message, beside everything else.
    fn send(&self, order: Order) {
        let Order { to, text, done } = order;
        let Some(modem) = self.modem.clone() else {
            let _ = done.send(Err(SmsError::NoModem));
            return;
        };
        let connection = self.connection.clone();
        tokio::spawn(async move {
            let sent = send(&connection, &modem, to.as_str(), &text).await;
            let _ = done.send(sent);
        });
    }
}

/// Sends a message, of which nothing is left on the modem then.
async fn send(
    connection: &Connection,
    modem: &ObjectPath<'_>,
    to: &str,
    text: &str,
) -> Result<(), SmsError> {
    let refused = |error: zbus::Error| match error {
        zbus::Error::MethodError(name, text, _) => {
            SmsError::Refused(text.unwrap_or_else(|| name.to_string()))
        }
        other => SmsError::Refused(other.to_string()),
    };
    let what = BTreeMap::from([("number", Variant::from(to)), ("text", Variant::from(text))]);
    let made = connection
        .call_method(
            Some(NAME),
            modem,
            Some("org.freedesktop.ModemManager1.Modem.Messaging"),
            "Create",
            &what,
        )
        .await
        .map_err(refused)?;
    let path: OwnedObjectPath = made.body().deserialize().map_err(refused)?;
    let sent = connection
        .call_method(Some(NAME), &path, Some("org.freedesktop.ModemManager1.Sms"), "Send", &())
        .await;
    delete(connection, modem, &path).await;
    sent.map(|_| ()).map_err(refused)
}

/// Takes a message off a modem.
async fn delete(connection: &Connection, modem: &ObjectPath<'_>, message: &ObjectPath<'_>) {
    let asked = connection.call_method(
        Some(NAME),
        modem,
        Some("org.freedesktop.ModemManager1.Modem.Messaging"),
        "Delete",
        message,
    );
    if let Err(error) = asked.await {
        tracing::warn!(%error, "a message stays on the modem");
    }
}
