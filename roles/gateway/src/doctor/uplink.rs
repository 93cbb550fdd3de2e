//! A core that is reached by TLS.

use std::path::Path;

use homeward_daemon::doctor::Findings;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy};
use homeward_radius::{Builder, Code};
use homeward_transport::Endpoint;
use homeward_transport::radsec::client::{ClientLimits, Event};

use super::PATIENCE;
use crate::uplink;

/// Connects, and asks the server whether it lives (Status-Server, RFC 5997): in TLS 1.3 a client
/// that is not let in does not know before.
pub(super) async fn examine(core: &Endpoint, directory: &Path, found: &mut Findings) {
    let mut entropy = SystemEntropy::new();
    let mut client = uplink::connect(
        std::slice::from_ref(core),
        directory,
        ClientLimits::default(),
        &mut entropy,
    );
    let deadline = SystemClock.now() + PATIENCE;
    let why = loop {
        let event = tokio::select! {
            event = client.event() => event,
            () = SystemClock.until(Some(deadline)) => break "no answer".to_owned(),
        };
        match event {
            Event::Up { server, lane, version } => {
                let mut octets = Vec::new();
                let asked = version.secret().map(|secret| {
                    let (code, authenticator) = (Code::StatusServer, entropy.octets());
                    Builder::request(&mut octets, &secret, code, 0, authenticator).finish();
                });
                if let Err(error) = asked {
                    break error.to_string();
                }
                client.send(server, lane, &octets);
            }
            Event::Packet { .. } => return found.ok(format!("the core {core} answers, by TLS")),
            Event::Down { why, .. } => break why,
        }
    };
    found.fail(
        format!("the core {core}: {why}"),
        "is this gateway enrolled (`homeward gateway enrol`), and does the core listen there \
         (aaa.radsec.listen)?",
    );
}
