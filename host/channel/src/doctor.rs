//! What an end of the control channel needs: a credential, and a controller that takes connections.

use std::path::Path;
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_daemon::doctor::Findings;
use homeward_model::{Clock, UnixTime};
use tokio::net::TcpStream;

use crate::dial::chain;
use crate::{ChannelConfig, Credential, read_token};

/// How long a controller may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How an end is called, and what its people do.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// As in the command line: `gateway`.
    pub role: &'static str,
    /// The setting that names the controllers.
    pub key: &'static str,
    /// How it gets a credential.
    pub enrol: &'static str,
}

/// Looks at credential and controllers.
pub async fn examine(config: &ChannelConfig, who: &Who, found: &mut Findings) {
    credential(config, who, SystemClock.unix(), found);
    controllers(&config.core, who.key, found).await;
}

/// The credential, whether it is there and for how long; or the token that gets one.
fn credential(config: &ChannelConfig, who: &Who, now: UnixTime, found: &mut Findings) {
    let (role, enrol) = (who.role, who.enrol);
    let directory = config.directory.display();
    let credential = match Credential::load(&config.directory) {
        Ok(Some(credential)) => credential,
        Ok(None) => return token(config.token_file.as_deref(), who, found),
        Err(error) => return found.fail(chain(&error), enrol),
    };
    let (name, facts) = (credential.name(), credential.facts());
    if now >= facts.not_after {
        found.fail(
            format!("the credential of {name} in {directory} ended at {}", facts.not_after),
            format!("start the {role}: it renews the credential if the controller still takes it; else {enrol}"),
        );
    } else if now < facts.not_before {
        found.fail(
            format!(
                "the credential of {name} in {directory} begins at {}, and now it is {now}",
                facts.not_before
            ),
            "set this machine's clock",
        );
    } else if now >= credential.renew_at() {
        found.warn(
            format!("the credential of {name} is good until {}, and its renewal is due", facts.not_after),
            format!("start the {role}, which renews it; if it runs, see why it does not reach the controller (`homeward {role} status`)"),
        );
    } else {
        found.ok(format!("the credential of {name} is good until {}", facts.not_after));
    }
}

fn token(path: Option<&Path>, who: &Who, found: &mut Findings) {
    match path.map(|path| (path, read_token(path))) {
        None => {
            found
                .fail(format!("this {} has no credential for the controller", who.role), who.enrol);
        }
        Some((path, Ok(_))) => found.ok(format!(
            "no credential for the controller yet: the token in {} gets one",
            path.display()
        )),
        Some((_, Err(error))) => found.fail(chain(&error), who.enrol),
    }
}

/// Whether the controllers take connections. More is not tried: one that is let in would take the
/// place of the one that runs.
async fn controllers(core: &[String], key: &str, found: &mut Findings) {
    let mut silent = Vec::new();
    for address in core {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => found.ok(format!("the controller {address} takes connections")),
            Ok(Err(error)) => silent.push((address, error.to_string())),
            Err(_) => silent.push((address, format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
    let none = silent.len() == core.len();
    for (address, why) in silent {
        let what = format!("the controller {address} ({key}): {why}");
        let repair = "look whether it runs there, whether its name resolves, and whether a firewall lets TCP to that port through";
        match none {
            true => found.fail(what, repair),
            // The others do.
            false => found.warn(what, repair),
        }
    }
}

#[cfg(test)]
mod tests;
