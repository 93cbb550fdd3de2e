//! The control sockets of hostapd and wpa_supplicant, with all that they tell kept and stamped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_hostapd::{Command, ControlError, Events};
use homeward_model::Instant;
use homeward_net::wait::{now, wait_for};
use tokio::sync::oneshot;

/// How long an answer may take: adding a BSS takes up to 5 s at worst.
const PATIENCE: Duration = Duration::from_secs(10);

/// What hostapd or wpa_supplicant told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it was read off the socket.
    pub at: Instant,
    /// What it was; wpa_supplicant's are all [`homeward_hostapd::Event::Other`].
    pub event: homeward_hostapd::Event<'static>,
}

impl Event {
    /// The text of an event that has no type of its own; empty for the others.
    pub fn text(&self) -> &str {
        match &self.event {
            homeward_hostapd::Event::Other(text) => text,
            _ => "",
        }
    }
}

/// A control socket, with the events since it was opened.
#[derive(Debug)]
pub struct Control {
    client: homeward_hostapd::Control,
    path: PathBuf,
    events: Arc<Mutex<Vec<Event>>>,
    /// Ends the listening thread when dropped.
    _listening: oneshot::Sender<()>,
}

impl Control {
    /// Connects to the socket at `path` and subscribes to its events.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(path: &Path) -> Result<Self> {
        let run_dir = Path::new(crate::RUN).join("control");
        let client = homeward_hostapd::Control::interface(path, &run_dir)?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let (ready_tx, ready) = oneshot::channel();
        let (listening, stop) = oneshot::channel();
        let (socket, sink) = (path.to_owned(), Arc::clone(&events));
        // A thread, so that the stamp does not wait for the scenario's other tasks.
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || listen(&socket, &run_dir, &sink, ready_tx, stop))?;
        ready.await?.with_context(|| format!("cannot listen to {}", path.display()))?;
        Ok(Self { client, path: path.to_owned(), events, _listening: listening })
    }

    /// Sends `verb arguments`; returns the answer.
    ///
    /// # Errors
    /// If it is refused (`FAIL…`), or not answered within 10 s.
    pub async fn request(&self, verb: &'static str, arguments: &str) -> Result<String> {
        self.client
            .request(&Command::new(verb, arguments), PATIENCE)
            .await
            .with_context(|| format!("{}: {verb} {arguments}", self.path.display()))
    }

    /// [`request`](Self::request), where a refusal is as good an answer as any.
    ///
    /// # Errors
    /// If it is not answered within 10 s.
    pub async fn try_request(&self, verb: &'static str, arguments: &str) -> Result<Option<String>> {
        match self.client.request(&Command::new(verb, arguments), PATIENCE).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ControlError::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All events since the socket was opened, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events from `since` on whose text begins with `prefix`.
    pub fn events_since(&self, since: Instant, prefix: &str) -> Vec<Event> {
        self.matching(since, |event| event.text().starts_with(prefix))
    }

    /// Waits for the first event from `since` on whose text begins with `prefix`.
    ///
    /// # Errors
    /// If none comes within `limit`, with the last events that did.
    pub async fn event(&self, since: Instant, prefix: &str, limit: Duration) -> Result<Event> {
        self.wait(since, prefix, limit, |event| event.text().starts_with(prefix)).await
    }

    /// Waits for the first event from `since` on that `is_it`; `what` names it in the error.
    ///
    /// # Errors
    /// If none comes within `limit`, with the last events that did.
    pub async fn wait(
        &self,
        since: Instant,
        what: &str,
        limit: Duration,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let look = async || Ok(self.matching(since, &is_it).into_iter().next());
        wait_for(what, limit, look).await.with_context(|| {
            let events = self.matching(since, |_| true);
            let last: Vec<_> = events.iter().rev().take(8).rev().map(|e| &e.event).collect();
            format!("{} told {last:?}", self.path.display())
        })
    }

    fn matching(&self, since: Instant, is_it: impl Fn(&Event) -> bool) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| event.at >= since && is_it(event)).cloned().collect()
    }
}

/// The life of the listening thread.
fn listen(
    socket: &Path,
    run_dir: &Path,
    sink: &Mutex<Vec<Event>>,
    ready: oneshot::Sender<Result<()>>,
    mut stop: oneshot::Receiver<()>,
) {
    let listening = async {
        let mut events = match Events::attach(socket, run_dir, PATIENCE).await {
            Ok(events) => events,
            Err(error) => return ready.send(Err(error.into())).unwrap_or(()),
        };
        ready.send(Ok(())).ok();
        loop {
            tokio::select! {
                _ = &mut stop => return,
                next = events.next() => {
                    let Ok(next) = next else { return };
                    let event = Event { at: now(), event: next.event };
                    sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
            }
        }
    };
    // Without a runtime `ready` is dropped, which the one who waits for it reports.
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(listening);
    }
}
