//! A modem, whoever knows of it.

use std::io;
use std::time::Duration;

use homeward_model::{Imei, Imsi};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::facts::Facts;
use crate::message::{Message, Number, Sender};
use crate::network::Network;
use crate::{fixed, manager};

/// Messages that wait for their reader. More stay on the modem.
const MESSAGES: usize = 16;

/// A bus.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bus {
    /// The system's.
    #[default]
    System,
    /// One by its address, such as `unix:path=/run/dbus/system_bus_socket`.
    Address(String),
}

/// How to reach a modem by ModemManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// The bus that ModemManager is on.
    pub bus: Bus,
    /// Which modem; `None`: the first.
    pub imei: Option<Imei>,
    /// The interface that the bearer is on, where ModemManager does not know it: with PPP, it knows
    /// a serial port.
    pub interface: Option<String>,
    /// From whom messages are taken, and taken off the modem. All others are their owner's and
    /// stay where they are.
    pub messages_from: Vec<Number>,
    /// How often a modem that can is to measure its signal, in seconds; 0: as it likes.
    pub signal_every: u32,
    /// How long ModemManager may take to say what it knows.
    pub patience: Duration,
    /// How long to wait before a bus that is not there is tried again.
    pub retry: Duration,
}

impl Default for Managed {
    fn default() -> Self {
        Self {
            bus: Bus::System,
            imei: None,
            interface: None,
            messages_from: Vec::new(),
            signal_every: 10,
            patience: Duration::from_secs(10),
            retry: Duration::from_secs(5),
        }
    }
}

/// A modem of which nobody knows more than is in the configuration. It has a bearer when its
/// interface is up and has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Who its SIM is.
    pub imsi: Imsi,
    /// Which equipment it is.
    pub imei: Option<Imei>,
    /// The interface that the bearer is on.
    pub interface: String,
}

/// Why a modem cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum ModemError {
    /// The kernel does not tell of interfaces.
    #[error("the kernel does not tell of interfaces and addresses")]
    Network(#[source] io::Error),
    /// It does not let them be looked up.
    #[error(transparent)]
    Linux(#[from] homeward_linux::Error),
}

/// A modem that is watched, until this is dropped.
#[derive(Debug)]
pub struct Modem {
    facts: watch::Receiver<Facts>,
    messages: mpsc::Receiver<Message>,
    sender: Sender,
    task: AbortHandle,
}

impl Modem {
    /// Watches the modem that ModemManager has, or will have.
    ///
    /// # Errors
    /// The kernel does not tell of addresses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn managed(settings: Managed) -> Result<Self, ModemError> {
        let network = Network::open()?;
        let (facts_in, facts) = watch::channel(Facts::default());
        let (messages_in, messages) = mpsc::channel(MESSAGES);
        let (sender, orders) = mpsc::channel(1);
        let work = manager::run(settings, network, facts_in, messages_in, orders);
        let task = tokio::spawn(work).abort_handle();
        Ok(Self { facts, messages, sender: Sender(sender), task })
    }

    /// Watches the interface of a modem that nobody manages.
    ///
    /// # Errors
    /// The kernel does not tell of addresses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn fixed(settings: Fixed) -> Result<Self, ModemError> {
        let network = Network::open()?;
        let (facts_in, facts) = watch::channel(Facts::default());
        let (messages_in, messages) = mpsc::channel(MESSAGES);
        let (sender, orders) = mpsc::channel(1);
        let work = fixed::run(settings, network, facts_in, messages_in, orders);
        let task = tokio::spawn(work).abort_handle();
        Ok(Self { facts, messages, sender: Sender(sender), task })
    }

    /// What is known now.
    pub fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// Facts as they change, for whoever waits for one in particular.
    pub fn watch(&self) -> watch::Receiver<Facts> {
        self.facts.clone()
    }

    /// Waits until something has changed since this was last called, or a message comes.
    /// Cancel-safe. What changed twice meanwhile is told once, as it is now.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            Some(message) = self.messages.recv() => News::Message(message),
            Ok(()) = self.facts.changed() => News::Facts(self.facts.borrow_and_update().clone()),
            // Its task never ends by itself.
            else => std::future::pending().await,
        }
    }

    /// Who sends messages through it.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What is known now.
    Facts(Facts),
    /// A message came.
    Message(Message),
}
