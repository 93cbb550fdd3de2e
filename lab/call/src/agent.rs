//! The part of a device's daemon that does hand-offs, in a namespace, told where traffic goes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use homeward_daemon::Shutdown;
use homeward_device::config::{Handoff as Settings, State};
use homeward_device::dial::Line;
use homeward_device::handoff::{Handoff, Notice, Shared};
use homeward_net::Namespace;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::PATIENCE;

/// What it is told.
#[derive(Debug)]
enum Told {
    Go { ssid: Option<String>, interface: String, address: Ipv4Addr },
    Key { server: String, purpose: String, answer: mpsc::Sender<Result<String>> },
}

/// It runs until dropped.
#[derive(Debug)]
pub struct Agent {
    tells: UnboundedSender<Told>,
    notices: mpsc::Receiver<Notice>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Agent {
    /// Starts it with what `[handoff]` says; what it keeps is in `folder`.
    ///
    /// # Errors
    /// If that is wrong.
    pub fn start(namespace: &Namespace, folder: &Path, handoff: Value) -> Result<Self> {
        let settings: Settings = serde_json::from_value(handoff)?;
        settings.check().map_err(anyhow::Error::msg)?;
        let state = State { key_file: folder.join("keys"), directory: folder.to_owned() };
        let (tells, told) = unbounded_channel();
        let (notice, notices) = mpsc::channel();
        let namespace = namespace.clone();
        let thread = std::thread::Builder::new().name("agent".into()).spawn(move || {
            namespace.switch()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(settings, state, told, &notice))
        })?;
        Ok(Self { tells, notices, thread: Some(thread) })
    }

    /// Traffic goes by that interface: of Wi-Fi with that SSID, or of cellular.
    ///
    /// # Errors
    /// If the agent has ended.
    pub fn go(&self, ssid: Option<&str>, interface: &str, address: Ipv4Addr) -> Result<()> {
        let (ssid, interface) = (ssid.map(str::to_owned), interface.to_owned());
        Ok(self.tells.send(Told::Go { ssid, interface, address })?)
    }

    /// The key of the last hop for that purpose, which device and server have.
    ///
    /// # Errors
    /// If there is none.
    pub fn key(&self, server: &str, purpose: &str) -> Result<String> {
        let (answer, answered) = mpsc::channel();
        let (server, purpose) = (server.to_owned(), purpose.to_owned());
        self.tells.send(Told::Key { server, purpose, answer })?;
        answered.recv_timeout(PATIENCE).context("the agent does not answer")?
    }

    /// Waits for the next notice that is `wanted`; there is none before that says something failed.
    ///
    /// # Errors
    /// If there is, or none comes.
    pub fn says(&self, wanted: impl Fn(&Notice) -> bool) -> Result<Notice> {
        loop {
            let notice = self.notices.recv_timeout(PATIENCE).context("nothing is told")?;
            if wanted(&notice) {
                return Ok(notice);
            }
            if matches!(notice, Notice::NotProven { .. } | Notice::NotConnected { .. }) {
                bail!("{notice:?}");
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.tells = unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            // Its own error was told of by what waited for it.
            let _ = thread.join();
        }
    }
}

async fn serve(
    settings: Settings,
    state: State,
    mut told: UnboundedReceiver<Told>,
    notice: &mpsc::Sender<Notice>,
) -> Result<()> {
    let (tell, mut tells) = unbounded_channel();
    let handoff = Handoff::start(&settings, &state, tell, &Shutdown::new())?;
    loop {
        tokio::select! {
            Some(said) = tells.recv() => drop(notice.send(said)),
            to = told.recv() => match to {
                Some(Told::Go { ssid, interface, address }) => {
                    let ssid = ssid.map(|ssid| ssid.parse()).transpose()?;
                    let addresses = vec![IpAddr::V4(address)];
                    handoff.go(ssid.as_ref(), Some(Line { interface, addresses }));
                }
                Some(Told::Key { server, purpose, answer }) => {
                    let of = handoff.key(&server.parse()?, Shared::WithServer, &purpose);
                    // Who asked may have gone. The walker tells what it does meanwhile.
                    let _ = answer.send(match of {
                        Ok(key) => key.await.map(|key| key.key.to_string()).map_err(|e| anyhow!(e)),
                        Err(error) => Err(error.into()),
                    });
                }
                None => break,
            },
        }
    }
    handoff.stop().await;
    Ok(())
}
