//! The control channel: carries out what the machine wants of it, and brings what comes.

use std::sync::Arc;

use homeward_channel::{Channel, ChannelConfig, Client, End, Error, read_token};
use homeward_control::link::Action;
use homeward_control::{FromGateway, ToGateway, pb};
use homeward_daemon::SystemClock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::agent::{ChannelInput, Input};

/// Something to be done with the channel.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open or close it.
    Do(Action),
    /// Say something on it. Without a channel it is lost, as it would be on a broken one.
    Say(Box<FromGateway>),
}

/// What the next thing to happen is.
enum Next {
    Order(Order),
    Opened(Result<Channel, Error>),
    Came(pb::ToGateway),
    Ended(End),
}

/// Works until nobody gives orders any more.
pub(crate) async fn run(
    config: ChannelConfig,
    mut orders: UnboundedReceiver<Order>,
    inputs: UnboundedSender<Input>,
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
        let input = match next {
            Next::Order(Order::Do(action)) => {
                channel = None;
                connecting = action == Action::Connect;
                continue;
            }
            Next::Order(Order::Say(message)) => {
                let Some(open) = &channel else { continue };
                let Err(error) = open.to_core.try_send(message.to_pb()) else { continue };
                // What was not said would be missed for good: the next Hello says it all.
                channel = None;
                ChannelInput::Lost(format!("the controller does not listen: {error}"))
            }
            Next::Opened(opened) => {
                connecting = false;
                match opened {
                    Ok(opened) => {
                        tracing::debug!(core = %opened.core, "channel open");
                        channel = Some(opened);
                        ChannelInput::Up
                    }
                    Err(error) => ChannelInput::Lost(format!("{:#}", anyhow::Error::from(error))),
                }
            }
            Next::Came(message) => match ToGateway::from_pb(message) {
                Ok(Some(message)) => ChannelInput::Message(Box::new(message)),
                Ok(None) => continue,
                Err(error) => {
                    channel = None;
                    ChannelInput::Lost(format!("the controller said what cannot be read: {error}"))
                }
            },
            Next::Ended(end) => {
                channel = None;
                ChannelInput::Lost(why(end))
            }
        };
        // Nobody listens any more: the gateway is ending.
        let _ = inputs.send(Input::Channel(input));
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
            Some(message) => Next::Came(message),
            None => Next::Ended(channel.ended().await),
        },
        None => std::future::pending().await,
    }
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
