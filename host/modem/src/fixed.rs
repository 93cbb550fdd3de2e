//! The modem that is in the configuration.

use tokio::sync::{mpsc, watch};

use crate::facts::{Bearer, Facts, ModemFacts, Sim};
use crate::message::{Message, Order, SmsError};
use crate::modem::Fixed;
use crate::network::Network;

pub(crate) async fn run(
    settings: Fixed,
    network: Network,
    facts: watch::Sender<Facts>,
    // Held, so that whoever waits for a message waits.
    _messages: mpsc::Sender<Message>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut orders_come = true;
    loop {
        let addresses = network.addresses(&settings.interface).await;
        let bearer = (!addresses.is_empty()).then(|| Bearer {
            interface: settings.interface.clone(),
            addresses,
            apn: None,
        });
        let modem = ModemFacts {
            sim: Sim::Ready,
            imsi: Some(settings.imsi),
            imei: settings.imei,
            bearer,
            ..ModemFacts::default()
        };
        let now = Facts { manager: true, modem: Some(modem) };
        facts.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        tokio::select! {
            changed = network.changed() => if let Err(error) = changed {
                tracing::error!(%error, "interfaces are not watched any more");
                return std::future::pending().await;
            },
            order = orders.recv(), if orders_come => match order {
                Some(order) => {
                    // Whoever asked may have gone.
                    let _ = order.done.send(Err(SmsError::NoModem));
                }
                None => orders_come = false,
            },
        }
    }
}
