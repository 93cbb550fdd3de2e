//! A gateway's channel, kept: opened and closed as its machine wants it
//! ([`Link`](homeward_control::Link)), and what comes brought to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use homeward_control::link::Action;
use homeward_control::{FromGateway, ToGateway, pb};
use homeward_daemon::SystemClock;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::client::{Channel, Client, End, read_token};
use crate::dial::chain;
use crate::error::Error;
use crate::settings::ChannelConfig;

/// Something to be done with the channel.
#[derive(Debug)]
pub enum Order {
    /// Open or close it.
    Do(Action),
    /// Say something on it. Without a channel it is lost, as it would be on a broken one.
    Say(Box<FromGateway>),
    /// Have it leave by this interface, whatever the routing table prefers; `None` leaves it to
    /// that. One that is open by another ends.
    By(Option<String>),
}

/// What became of the channel.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It is open.
    Up,
    /// The core says something.
    Message(Box<ToGateway>),
    /// It could not be opened, or has ended: why, for people.
    Lost(String),
}

/// What the next thing to happen is.
enum Next {
    Order(Order),
    Opened(Result<Channel, Error>),
    Came(Box<pb::ToGateway>),
    Ended(End),
}

/// Works until nobody gives orders any more; `tell` is told what becomes of it.
pub async fn keep(
    config: ChannelConfig,
    mut orders: UnboundedReceiver<Order>,
    tell: impl Fn(News),
) {
    let clock = Arc::new(SystemClock);
    let client =
        Client::new(config.core.clone(), config.directory.clone(), config.settings(), clock);
    let renewing = tokio::spawn({
        let client = client.clone();
        async move { client.keep_renewed().await }
    });
    let (mut channel, mut connecting) = (None, false);
    loop {
        let next = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => Next::Order(order),
                None => break,
            },
            opened = open(&client, &config), if connecting => Next::Opened(opened),
            next = listen(&mut channel), if channel.is_some() => next,
        };
        tell(match next {
            Next::Order(Order::Do(action)) => {
                channel = None;
                connecting = action == Action::Connect;
                continue;
            }
            Next::Order(Order::By(interface)) => {
                if !client.leave_by(interface) || (channel.take().is_none() && !connecting) {
                    continue;
                }
                connecting = false;
                News::Lost("the channel is to leave by another interface".to_owned())
            }
            Next::Order(Order::Say(message)) => {
                let Some(open) = &channel else { continue };
                let Err(error) = open.to_core.try_send(message.to_pb()) else { continue };
                // What was not said would be missed for good: the next Hello says it all.
                channel = None;
                News::Lost(format!("the controller does not listen: {error}"))
            }
            Next::Opened(opened) => {
                connecting = false;
                match opened {
                    Ok(opened) => {
                        tracing::debug!(core = %opened.core, "channel open");
                        channel = Some(opened);
                        News::Up
                    }
                    Err(error) => News::Lost(chain(&error)),
                }
            }
            Next::Came(message) => match ToGateway::from_pb(*message) {
                Ok(Some(mut message)) => {
                    if let (ToGateway::Welcome(welcome), Some(open)) = (&mut message, &channel) {
                        complete(&mut welcome.stun, open.core.ip());
                    }
                    News::Message(Box::new(message))
                }
                Ok(None) => continue,
                Err(error) => {
                    channel = None;
                    News::Lost(format!("the controller said what cannot be read: {error}"))
                }
            },
            Next::Ended(end) => {
                channel = None;
                News::Lost(why(end))
            }
        });
    }
    renewing.abort();
}

/// Opens the channel; enrols first where there is no credential but a token.
async fn open(client: &Client, config: &ChannelConfig) -> Result<Channel, Error> {
    if let (None, Some(path)) = (client.credential()?, &config.token_file) {
        client.enrol(&read_token(path)?).await?;
    }
    client.connect().await
}

/// Waits for what comes on the channel, or its end. Cancelling loses nothing.
async fn listen(channel: &mut Option<Channel>) -> Next {
    match channel {
        Some(channel) => match channel.from_core.recv().await {
            Some(message) => Next::Came(Box::new(message)),
            None => Next::Ended(channel.ended().await),
        },
        None => std::future::pending().await,
    }
}

/// Puts the core's address where a port alone was said, as far as it is of that family.
fn complete(addresses: &mut Vec<SocketAddr>, core: IpAddr) {
    let core = core.to_canonical();
    addresses.retain_mut(|address| {
        if address.ip().is_unspecified() && address.is_ipv4() == core.is_ipv4() {
            address.set_ip(core);
        }
        !address.ip().is_unspecified()
    });
}

fn why(end: End) -> String {
    match end {
        End::Goodbye { message, .. } => message,
        End::Closed => "the controller closed the channel".to_owned(),
        End::Refused { refusal, message } if message.is_empty() => refusal.to_string(),
        End::Refused { message, .. } => message,
        End::Silent => "the controller has fallen silent".to_owned(),
        End::Lost(error) => error,
        End::Left => "the channel was closed here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_cores_where_the_channel_is_of_that_family() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let told = ["0.0.0.0:3478", "[::]:3479", "192.0.2.9:3478", "[2001:db8::9]:3478"];
        for (core, completed) in [
            ("192.0.2.1", ["192.0.2.1:3478", "192.0.2.9:3478", "[2001:db8::9]:3478"]),
            ("::ffff:192.0.2.1", ["192.0.2.1:3478", "192.0.2.9:3478", "[2001:db8::9]:3478"]),
            ("2001:db8::1", ["[2001:db8::1]:3479", "192.0.2.9:3478", "[2001:db8::9]:3478"]),
        ] {
            let mut addresses = told.map(parse).to_vec();
            complete(&mut addresses, core.parse().unwrap());
            assert_eq!(addresses, completed.map(parse), "{core}");
        }
    }
}
