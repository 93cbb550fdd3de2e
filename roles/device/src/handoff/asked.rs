//! What the status socket is asked of hand-off keys.
//!
//! | command | takes | answers |
//! |---|---|---|
//! | `flow` | `server`, `flow`, `open` | `open`, `changed` |
//! | `enrol` | | whether it `asks` |
//! | `key` | `server`, `purpose`, and whether the `network` has it, too | `hop`, `network`, `key` |

use std::pin::Pin;

use homeward_daemon::control::Kind;
use homeward_daemon::{ControlError, Request};
use homeward_model::Name;
use homeward_offload::manager::Keys;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AskError, Handoff, Shared};

/// To have a flow admitted, or no longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowRequest {
    server: Name,
    flow: String,
    open: bool,
}

/// For a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    server: Name,
    purpose: String,
    #[serde(default)]
    network: bool,
}

/// An answer that may take as long as a hop does.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Value, ControlError>> + Send>>;

/// Answers it; `None` if something else is asked.
pub(crate) fn asked(
    handoff: Option<&Handoff>,
    request: &Request,
) -> Option<Result<Answering, ControlError>> {
    let handoff = handoff.ok_or_else(|| refused(AskError::Off));
    match request.command.as_str() {
        "key" => Some(handoff.and_then(|handoff| key(handoff, request))),
        "flow" => Some(handoff.and_then(|handoff| flow(handoff, request))),
        _ => None,
    }
}

fn key(handoff: &Handoff, request: &Request) -> Result<Answering, ControlError> {
    let KeyRequest { server, purpose, network } = request.parse()?;
    let shared = if network { Shared::WithNetwork } else { Shared::WithServer };
    let key = handoff.key(&server, shared, &purpose).map_err(refused)?;
    Ok(Box::pin(async move { value(&key.await.map_err(refused)?) }))
}

fn flow(handoff: &Handoff, request: &Request) -> Result<Answering, ControlError> {
    let FlowRequest { server, flow, open } = request.parse()?;
    let kept = handoff.flow(&server, &flow, open).map_err(refused)?;
    Ok(Box::pin(
        async move { Ok(json!({ "open": open, "changed": kept.await.map_err(refused)? })) },
    ))
}

/// What the machine is told to have hand-off keys come anew, in place of those that there are.
pub(crate) fn anew(handoff: Option<&Handoff>) -> Result<Keys, ControlError> {
    match handoff.map(Handoff::facts) {
        Some(Keys::Of(_)) => Ok(Keys::Of(None)),
        Some(Keys::Unwanted) => {
            let what = "the portal is asked for no keys: handoff.root_file is set";
            Err(ControlError::new(Kind::BadRequest, what))
        }
        None => Err(refused(AskError::Off)),
    }
}

fn value(value: &impl Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(value).map_err(ControlError::failed)
}

fn refused(error: AskError) -> ControlError {
    let kind = match error {
        AskError::NoServer(_) | AskError::NoKey(_) => Kind::NotFound,
        AskError::Off | AskError::Flow(_) => Kind::BadRequest,
        AskError::Stopping => Kind::Failed,
    };
    ControlError::new(kind, error.to_string())
}
