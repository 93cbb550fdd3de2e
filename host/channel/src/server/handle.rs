//! The role's grip on a channel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use homeward_control::pb;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::Status;

use super::Counters;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No channel yet.
    Idle,
    /// A channel is open.
    Open,
    /// The role closed it; what is queued is still sent.
    Closing,
    /// The gateway closed it, or its connection broke.
    Ended,
    /// It is cut off.
    Cut,
}

impl Stage {
    /// Whether nothing more is to be heard.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Closing | Self::Ended | Self::Cut)
    }
}

/// Why a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The gateway closed it.
    Left,
    /// The connection broke: for which reason, for people.
    Lost(String),
    /// The gateway did not read what it was sent, and was cut off.
    Overrun,
    /// The role closed it.
    ByUs,
}

/// A gateway that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway does not read what it is sent, and was cut off")]
pub struct Overrun;

/// The role's end of a channel. Dropping it closes the channel.
pub struct Handle {
    to_gateway: mpsc::Sender<pb::ToGateway>,
    stage: watch::Sender<Stage>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) fn new(
        queue: usize,
        stage: watch::Sender<Stage>,
        counters: Arc<Counters>,
    ) -> (Self, Outgoing) {
        let (to_gateway, queued) = mpsc::channel(queue);
        (Self { to_gateway, stage, counters }, Outgoing(queued))
    }

    /// Sends, without waiting. What is sent to a channel that has ended is lost; the event that
    /// says so is on its way.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if too much waits already: the gateway is cut off.
    pub fn send(&self, message: pb::ToGateway) -> Result<(), Overrun> {
        match self.to_gateway.try_send(message) {
            Ok(()) => {
                self.counters.messages_out.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.counters.overrun.fetch_add(1, Ordering::Relaxed);
                self.raise(Stage::Cut);
                Err(Overrun)
            }
        }
    }

    /// Closes the channel with a last word. From now on nothing is heard of it but its end.
    pub fn close(self, last: pb::ToGateway) {
        // If too much waits already, it is cut off without a word.
        let _ = self.send(last);
    }

    fn raise(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let later = !now.is_over();
            if later {
                *now = stage;
            }
            later
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.raise(Stage::Closing);
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({:?})", *self.stage.borrow())
    }
}

/// What is queued for a gateway; it ends when the handle is gone.
pub(super) struct Outgoing(mpsc::Receiver<pb::ToGateway>);

impl Stream for Outgoing {
    type Item = Result<pb::ToGateway, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|message| message.map(Ok))
    }
}
