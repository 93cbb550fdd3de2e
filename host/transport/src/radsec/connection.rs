//! One connection: packets in, answers out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_radius::Packets;
use homeward_radius::stream::LostStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::counters::count;
use super::door::Door;
use super::wire::{self, BATCH};
use super::worker::{Inbox, Item};
use super::{Ask, Connection, Version};
use crate::server::Asked;

pub(super) type Stream = TlsStream<TcpStream>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the peer closed it")]
    Closed,
    #[error("it was silent for too long")]
    Idle,
    #[error("the peer does not take its answers")]
    Stalled,
    #[error("its certificate is nobody's any more that is let in")]
    Refused,
    #[error(transparent)]
    Lost(#[from] LostStream),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a connection until it ends.
pub(super) async fn run(
    door: &Door,
    inbox: &Inbox,
    stream: Stream,
    source: SocketAddr,
    peer: u64,
    version: Version,
) -> End {
    let local = match stream.get_ref().0.local_addr() {
        Ok(local) => local.ip(),
        Err(error) => return error.into(),
    };
    // Bounded all the same: no more answers wait than there are requests outstanding.
    let (answers, queue) = mpsc::unbounded_channel();
    let connection = Arc::new(Connection { peer, version, source, local, answers });
    let (reader, mut writer) = tokio::io::split(stream);
    let end = tokio::select! {
        end = read(door, inbox, connection, reader) => end,
        end = write(queue, &mut writer, door.limits.stall) => end,
    };
    match &end {
        End::Idle => count(&door.counters.idle),
        End::Stalled => count(&door.counters.stalled),
        End::Lost(_) => count(&door.counters.lost),
        End::Closed | End::Refused | End::Io(_) => {}
    }
    wire::leave(&mut writer).await;
    end
}

/// Hands packets to the worker, as many as may be outstanding.
async fn read(
    door: &Door,
    inbox: &Inbox,
    connection: Arc<Connection>,
    mut reader: impl AsyncRead + Unpin,
) -> End {
    let outstanding = Arc::new(Semaphore::new(door.limits.outstanding.clamp(1, 1 << 20)));
    let mut packets = Packets::new();
    loop {
        match timeout(door.limits.idle, wire::fill(&mut reader, &mut packets)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return End::Closed,
            Ok(Err(error)) => return error.into(),
            Err(_) => return End::Idle,
        }
        loop {
            let packet = match packets.next_packet() {
                Ok(Some(packet)) => packet.to_vec(),
                Ok(None) => break,
                Err(lost) => return lost.into(),
            };
            // Neither is ever closed.
            let Ok(place) = Arc::clone(&outstanding).acquire_owned().await else { break };
            let Ok(queued) = Arc::clone(&door.queue).acquire_owned().await else { break };
            let ask = Ask { connection: Arc::clone(&connection), _place: place };
            let (asked, received) = (Asked(Arc::new(ask)), door.clock.now());
            inbox.put(Item { packet, asked, received, _queued: queued });
        }
    }
}

/// Writes what is answered, in the order in which it is.
async fn write(
    mut queue: UnboundedReceiver<(Vec<u8>, Asked)>,
    writer: &mut (impl AsyncWrite + Unpin),
    stall: Duration,
) -> End {
    let (mut batch, mut octets) = (Vec::with_capacity(BATCH), Vec::new());
    loop {
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return End::Closed;
        }
        octets.clear();
        for (answer, _) in &batch {
            octets.extend_from_slice(answer);
        }
        match wire::put(writer, &octets, stall).await {
            Ok(Ok(())) => batch.clear(),
            Ok(Err(error)) => return error.into(),
            Err(_) => return End::Stalled,
        }
    }
}
