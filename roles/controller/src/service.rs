//! The loop around the controller: channels, look-ups, changes, status, stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homeward_channel::Server;
use homeward_control::Controller;
use homeward_control::controller::LearnedMove;
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy};
use homeward_store::Store;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::authority;
use crate::config::Config;
use crate::figures::Figures;
use crate::gate::Gate;
use crate::hub::{Hub, Times};
use crate::revocations::{Asked, Reviewer, Revoking};
use crate::stun::Stun;
use crate::watch;

/// How long gateways have to hear the goodbye when the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// How many events are taken before other things are looked at.
const EVENTS: usize = 256;

/// How many changes of the store may wait.
const CHANGES: usize = 1024;

/// The most pairs of gateways of which is read how devices move between them.
const MOVES: u32 = 1_000_000;

/// A question for the status; the answer goes back by itself.
type Question = oneshot::Sender<Value>;

/// Starts the control channel on a store.
///
/// # Errors
///
/// What cannot be had at the start: the authority, the addresses.
pub async fn start(
    config: Config,
    store: Arc<dyn Store>,
    metrics: &mut Metrics,
    revoking: Revoking,
    reviewer: Arc<dyn Reviewer>,
    shutdown: Shutdown,
) -> anyhow::Result<Part> {
    let figures = Figures::new(metrics);
    let authority = authority::load_or_found(&*store).await?;
    tracing::info!(pin = %authority.pin(), "certificate authority");
    // Read before the first gateway is let in, so that no change is missed.
    let head = store.outbox_head().await.context("cannot read the store's outbox")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let gate = Arc::new(Gate::new(Arc::clone(&store), Arc::clone(&clock)));
    let server = Server::bind(&config.listen, config.server(), authority, gate, clock).await;
    let server = server.exit(Exit::Unavailable)?;
    for address in server.local() {
        tracing::info!(%address, "control channel open");
    }
    let stun = Stun::start(&config, &figures)?;
    let listen: Vec<String> = server.local().iter().map(ToString::to_string).collect();
    let stun_listen: Vec<String> = stun.local().iter().map(ToString::to_string).collect();

    let (found_tx, found) = mpsc::unbounded_channel();
    let mut machine = Controller::new(config.machine(stun.local()));
    remember_moves(&mut machine, &*store).await.context("cannot read what was learned of moves")?;
    let hub = Hub::new(
        machine,
        Arc::clone(&store),
        reviewer,
        figures,
        server.counters(),
        Times {
            hello: config.handshake_timeout.0,
            keep_moves: config.keep_moves.0,
            map_valid: config.map_valid.0,
            map_salt: SystemEntropy::new().octets(),
        },
        found_tx,
    );
    let (changes_tx, changes) = mpsc::channel(CHANGES);
    let (questions_tx, questions) = mpsc::channel::<Question>(4);
    let watching = watch::follow(store, head, changes_tx, shutdown.clone());
    let work = async move {
        let inputs = Inputs { found, changes, questions, revoking };
        let (_, (), answered) = tokio::join!(
            watching,
            run(hub, server, inputs, shutdown.clone()),
            answer_stun(stun, shutdown)
        );
        answered
    };
    let status = move || {
        let (questions, listen) = (questions_tx.clone(), listen.clone());
        let stun = stun_listen.clone();
        async move {
            let (question, answer) = oneshot::channel();
            // Nobody answers any more while the process stops.
            let asked = questions.send(question).await;
            let mut status = match asked {
                Ok(()) => answer.await.unwrap_or(Value::Null),
                Err(_) => Value::Null,
            };
            if let Some(status) = status.as_object_mut() {
                status.insert("listen".to_owned(), json!(listen));
                status.insert("stun".to_owned(), json!(stun));
            }
            status
        }
    };
    Ok(Part::new(status, work).section("controller"))
}

/// What the loop is told besides what gateways do.
struct Inputs {
    found: mpsc::UnboundedReceiver<crate::hub::Found>,
    changes: mpsc::Receiver<watch::Change>,
    questions: mpsc::Receiver<Question>,
    revoking: Revoking,
}

async fn run(mut hub: Hub, mut server: Server, mut inputs: Inputs, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            event = server.event() => {
                hub.handle_channel(event);
                // Many come at once after a restart; others are not to wait for all of them.
                for _ in 0..EVENTS {
                    let Some(event) = server.try_event() else { break };
                    hub.handle_channel(event);
                }
            }
            Some(found) = inputs.found.recv() => hub.handle_found(found),
            Some(change) = inputs.changes.recv() => hub.handle_change(change),
            Some(asked) = inputs.revoking.0.recv() => answer(&mut hub, asked),
            Some(question) = inputs.questions.recv() => {
                let status = serde_json::to_value(hub.status()).unwrap_or(Value::Null);
                // Whoever asked may be gone.
                let _ = question.send(status);
            }
            () = SystemClock.until(Some(hub.poll_timeout())) => hub.handle_timeout(),
        }
    }
    let keeping = tokio::time::timeout(GRACE, hub.keep_moves());
    hub.handle_shutdown();
    // Either may take too long; what is not kept is learned again.
    let (_, ()) = tokio::join!(keeping, server.stop(GRACE));
}

/// Answers STUN until the process stops. A worker that dies stops the process: gateways would take its
/// silence for a line that is down.
async fn answer_stun(stun: Stun, shutdown: Shutdown) -> anyhow::Result<()> {
    let died = tokio::select! {
        () = shutdown.requested() => None,
        died = stun.died() => Some(died),
    };
    if let Some(died) = died {
        shutdown.trigger();
        return Err(died.into());
    }
    // Stopping waits for the workers.
    let stopped = tokio::task::spawn_blocking(move || stun.stop()).await;
    Ok(stopped.context("no thread to wait for the STUN workers with")??)
}

/// Does what AAA asks. Whoever asked may be gone by then.
fn answer(hub: &mut Hub, asked: Asked) {
    let _ = match asked {
        Asked::Revoke(gateway, device, told) => {
            told.send(hub.handle_grant_revoked(gateway, device)).is_ok()
        }
        Asked::PutOut(gateway, station, told) => {
            told.send(hub.handle_login_ended(gateway, station)).is_ok()
        }
        Asked::Carries(gateway, known) => known.send(hub.carries_logins(gateway)).is_ok(),
    };
}

/// Takes up what an earlier process learned of moves.
async fn remember_moves(machine: &mut Controller, store: &dyn Store) -> homeward_store::Result<()> {
    let unix = SystemClock.unix();
    let kept = store.moves(MOVES).await?;
    let learned = kept.into_iter().map(|kept| LearnedMove {
        from: kept.from,
        to: kept.to,
        weight: kept.weight,
        age: Duration::from_millis(u64::try_from(unix.0.saturating_sub(kept.at.0)).unwrap_or(0)),
    });
    machine.remember_moves(learned, SystemClock.now());
    Ok(())
}
