//! Tells data planes how the Internet sees them (STUN, RFC 8489), by UDP.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use anyhow::Context;
use homeward_daemon::{Exit, ExitContext, SystemClock, SystemEntropy};
use homeward_stun::{Answerer, Verdict};
use homeward_transport::{
    Datagram, Replies, RunningServer, ServerConfig, Service, UdpServer, WorkerDied,
};

use crate::config::Config;
use crate::figures::Figures;

/// Who answers, on each of its addresses.
pub struct Stun {
    running: Vec<RunningServer>,
}

impl Stun {
    /// Begins to answer where the configuration says.
    ///
    /// # Errors
    ///
    /// An address cannot be had, or the system gives no thread.
    pub fn start(config: &Config, figures: &Figures) -> anyhow::Result<Self> {
        let mut running = Vec::new();
        for &address in &config.stun {
            // An answer is a few dozen octets: one worker keeps up with any line.
            let workers = Some(NonZeroUsize::MIN);
            let listen = ServerConfig { address, workers, receive_buffer: None };
            let server = UdpServer::bind(&listen).context("controller.stun");
            let server = server.exit(Exit::Unavailable)?;
            let started = server.start(SystemClock, |_| Worker {
                answerer: Answerer::new(config.answerer(), &mut SystemEntropy::new()),
                figures: figures.clone(),
            });
            running.push(started.context("no thread to answer STUN").exit(Exit::System)?);
        }
        Ok(Self { running })
    }

    /// Where it listens, with the ports that were given for port 0.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.running.iter().map(RunningServer::local_address).collect()
    }

    /// Waits until a worker dies. Cancelling loses nothing.
    pub async fn died(&self) -> WorkerDied {
        let mut waiting: Vec<_> =
            self.running.iter().map(|server| Box::pin(server.died())).collect();
        std::future::poll_fn(move |context| {
            let died = waiting.iter_mut().map(|died| died.as_mut().poll(context));
            died.into_iter().find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
        })
        .await
    }

    /// Stops, and waits until the workers have.
    ///
    /// # Errors
    ///
    /// [`WorkerDied`] if one had died.
    pub fn stop(self) -> Result<(), WorkerDied> {
        self.running.into_iter().try_for_each(|server| server.stop().map(drop))
    }
}

struct Worker {
    answerer: Answerer,
    figures: Figures,
}

impl Service for Worker {
    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        let Datagram { source, bytes, received, .. } = *datagram;
        let verdict = self.answerer.answer(source, bytes, received, replies.to(datagram));
        self.figures.stun(match verdict {
            Verdict::Answered => "answered",
            Verdict::Refused => "refused",
            Verdict::Limited => "limited",
            Verdict::Ignored => "ignored",
        });
    }
}
