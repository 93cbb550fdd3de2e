//! What is wrong with a module's or server's place among its peers, and the repair.

use homeward_daemon::doctor::{Finding, Findings};

use crate::config::HandoffConfig;
use crate::error::CallError;
use crate::peers::Peers;

/// Looks at the key, and asks every peer that has an address.
pub async fn examine(config: &HandoffConfig) -> Vec<Finding> {
    let mut findings = Findings::default();
    if !config.key_file.exists() {
        let what = format!("there is no key yet in {}", config.key_file.display());
        findings.warn(what, "start the role once, or `show-key`: it is made then");
        return findings.into_vec();
    }
    let identity = match config.identity() {
        Ok(identity) => identity,
        Err(error) => {
            let what = chain(&error);
            findings.fail(what, "put the right key there, or move it away and tell the peers");
            return findings.into_vec();
        }
    };
    findings.ok(format!("{} is known by the key {}", identity.name(), identity.key()));
    if config.peers.is_empty() {
        let repair = "name networks and servers in [[handoff.peers]]: each with its key";
        findings.warn("there are no peers: nobody is believed".to_owned(), repair);
    }
    let peers = Peers::new(identity.clone(), config.book(&identity), config.peer_settings());
    for peer in &config.peers {
        let name = &peer.name;
        if peer.revoked {
            findings.ok(format!("{name} is revoked"));
            continue;
        }
        match peers.reach(name).await {
            Ok(()) => findings.ok(format!("{name} answers, and takes this one for who it is")),
            Err(CallError::NoAddress(_)) => {
                findings.ok(format!("{name} is believed, and has no address to be asked at"));
            }
            Err(error @ CallError::Tls { .. }) => findings.fail(
                error.to_string(),
                "is its key the one in [[handoff.peers]], and does it have this one's key in its?",
            ),
            Err(error) => findings.fail(
                chain(&error),
                "is it running, is the address right, and does the network let it through?",
            ),
        }
    }
    findings.into_vec()
}

/// An error with what lies behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
