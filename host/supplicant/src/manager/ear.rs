//! What NetworkManager and wpa_supplicant have to tell, as events.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::StreamExt;
use zbus::message::Type;
use zbus::{Message, MessageStream, OwnedObjectPath};

use super::bus::{Bus, DAEMON, MANAGER, PROPERTIES, Properties, SUPPLICANT, read, take};
use super::hearing::{Hearing, Signal};
use super::{BSS, DEVICE, INTERFACE, NOTHING, SUPPLICANT_PATH};
use crate::{Event, InterfaceName, SupplicantError};

/// Events and signals that wait for their reader; later ones are lost.
const QUEUE: usize = 4096;

type Result<T, E = SupplicantError> = std::result::Result<T, E>;

/// What there is to tell of one interface.
#[derive(Debug)]
pub struct Events {
    bus: Bus,
    device: OwnedObjectPath,
    interface: InterfaceName,
    events: mpsc::Receiver<Event>,
    tasks: [AbortHandle; 2],
}

impl Drop for Events {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Events {
    pub(super) async fn listen(
        bus: Bus,
        device: OwnedObjectPath,
        interface: InterfaceName,
        owners: [String; 2],
    ) -> Result<Self> {
        // Read before it is asked for, so that nothing is missed in between.
        let mut stream = MessageStream::from(&bus.0);
        for rule in [
            format!("type='signal',sender='{SUPPLICANT}',interface='{INTERFACE}',member='EAP'"),
            format!(
                "type='signal',sender='{SUPPLICANT}',interface='{INTERFACE}',member='ScanDone'"
            ),
            format!(
                "type='signal',sender='{SUPPLICANT}',interface='{PROPERTIES}',arg0='{INTERFACE}'"
            ),
            format!(
                "type='signal',sender='{SUPPLICANT}',path='{SUPPLICANT_PATH}',member='InterfaceRemoved'"
            ),
            format!("type='signal',sender='{MANAGER}',path='{device}',member='StateChanged'"),
            format!("type='signal',sender='{DAEMON}',member='NameOwnerChanged',arg0='{MANAGER}'"),
            format!(
                "type='signal',sender='{DAEMON}',member='NameOwnerChanged',arg0='{SUPPLICANT}'"
            ),
        ] {
            bus.listen(&rule).await?;
        }
        let (signal_tx, mut signals) = mpsc::channel::<Message>(QUEUE);
        // On a task of its own: a stream that is not read would hold up the answers as well.
        let reader = tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if message.message_type() == Type::Signal {
                    // Only a flood could fill it, which the periodic check outlives.
                    let _ = signal_tx.try_send(message);
                }
            }
        });
        let (event_tx, events) = mpsc::channel(QUEUE);
        let mut ear = Ear {
            bus: bus.clone(),
            device: device.clone(),
            interface: interface.clone(),
            owners,
            path: interface_path(&bus, &interface).await?,
            hearing: Hearing::default(),
        };
        let teller = tokio::spawn(async move {
            while let Some(message) = signals.recv().await {
                if let Some(event) = ear.hear(&message).await
                    && event_tx.try_send(event).is_err()
                {
                    tracing::debug!("an event was lost: nobody listens");
                }
            }
        });
        let tasks = [reader.abort_handle(), teller.abort_handle()];
        Ok(Self { bus, device, interface, events, tasks })
    }

    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn next(&mut self) -> Result<Event> {
        self.events.recv().await.ok_or(SupplicantError::Away { service: MANAGER })
    }

    /// Asks whether NetworkManager lives and still manages the interface.
    ///
    /// # Errors
    /// It does not.
    pub async fn check(&mut self, patience: Duration) -> Result<()> {
        let asked = self.bus.properties(MANAGER, &self.device, DEVICE);
        let away = SupplicantError::Away { service: MANAGER };
        let mut about = tokio::time::timeout(patience, asked).await.map_err(|_| away)??;
        match take(&mut about, "Managed") {
            Some(true) => Ok(()),
            _ => Err(SupplicantError::Unmanaged { interface: self.interface.clone() }),
        }
    }
}

/// Who makes events of signals.
struct Ear {
    bus: Bus,
    device: OwnedObjectPath,
    interface: InterfaceName,
    owners: [String; 2],
    /// wpa_supplicant's object for the interface, while there is one.
    path: Option<String>,
    hearing: Hearing,
}

impl Ear {
    async fn hear(&mut self, message: &Message) -> Option<Event> {
        let signal = self.signal(message).await?;
        let mut event = self.hearing.hear(signal)?;
        if let Event::Connected { bssid, .. } = &mut event {
            *bssid = self.current().await;
        }
        Some(event)
    }

    /// What a message says, if it is of those who are listened to and about the interface.
    async fn signal(&mut self, message: &Message) -> Option<Signal> {
        let header = message.header();
        let [manager, supplicant] = &self.owners;
        // Anybody may send anybody a signal.
        let sender = header.sender()?.as_str();
        let (path, member) = (header.path()?.as_str(), header.member()?.as_str());
        let body = message.body();
        if sender == DAEMON {
            return (member == "NameOwnerChanged").then_some(Signal::Gone);
        }
        if sender == manager && path == self.device.as_str() && member == "StateChanged" {
            let (new, _, why): (u32, u32, u32) = body.deserialize().ok()?;
            return Some(Signal::Device(new, why));
        }
        if sender != supplicant {
            return None;
        }
        if member == "InterfaceRemoved" {
            let gone: OwnedObjectPath = body.deserialize().ok()?;
            let ours = self.path.as_deref() == Some(gone.as_str());
            return ours.then(|| {
                self.path = None;
                Signal::Removed
            });
        }
        if self.path.as_deref() != Some(path) {
            // It has another object each time that the radio is switched on.
            self.path = interface_path(&self.bus, &self.interface).await.ok()?;
        }
        if self.path.as_deref() != Some(path) {
            return None;
        }
        match member {
            "EAP" => {
                let (status, about) = body.deserialize().ok()?;
                Some(Signal::Eap(status, about))
            }
            "ScanDone" => body.deserialize().ok().map(Signal::Scanned),
            "PropertiesChanged" => {
                let (_, mut now, _): (String, Properties, Vec<String>) = body.deserialize().ok()?;
                Some(Signal::Changed {
                    state: take(&mut now, "State"),
                    reason: take(&mut now, "DisconnectReason"),
                    status: take(&mut now, "AssocStatusCode")
                        .or_else(|| take(&mut now, "AuthStatusCode")),
                })
            }
            _ => None,
        }
    }

    /// The access point that the station is with.
    async fn current(&self) -> Option<homeward_model::Mac> {
        let path = self.path.as_deref()?;
        let mut about = self.bus.properties(SUPPLICANT, path, INTERFACE).await.ok()?;
        let mut bss = current(&self.bus, &mut about).await.ok()??;
        super::radio::bssid(&mut bss)
    }
}

/// wpa_supplicant's object for an interface; `None` while it has none.
pub(super) async fn interface_path(bus: &Bus, interface: &InterfaceName) -> Result<Option<String>> {
    let name = interface.as_str();
    match bus.call(SUPPLICANT, SUPPLICANT_PATH, SUPPLICANT, "GetInterface", &name).await {
        Ok(reply) => {
            let path: OwnedObjectPath = read(&reply, "GetInterface")?;
            Ok(Some(path.as_str().to_owned()))
        }
        Err(SupplicantError::Refused { name, .. }) if name == "InterfaceUnknown" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The properties of the access point that an interface is with.
pub(super) async fn current(bus: &Bus, interface: &mut Properties) -> Result<Option<Properties>> {
    let path: Option<OwnedObjectPath> = take(interface, "CurrentBSS");
    let Some(path) = path.filter(|path| path.as_str() != NOTHING) else { return Ok(None) };
    match bus.properties(SUPPLICANT, &path, BSS).await {
        Ok(bss) => Ok(Some(bss)),
        Err(SupplicantError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
