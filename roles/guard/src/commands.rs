//! What the guard's status socket can be told, besides what every role's can.
//!
//! | command | takes | answers |
//! |---|---|---|
//! | `trace` | `session`, or nothing | each hop of the sessions, with its record, and what is admitted |

use std::sync::Arc;

use homeward_daemon::control::{ControlError, Kind};
use homeward_daemon::{Part, Request};
use homeward_handoff::trace;
use homeward_keychain::SessionId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::guard::Guard;

#[derive(Deserialize)]
struct Of {
    #[serde(default)]
    session: Option<String>,
}

/// Adds the commands.
pub fn add(part: Part, guard: &Arc<Guard>) -> Part {
    let guard = Arc::clone(guard);
    part.command("trace", move |request| traced(Arc::clone(&guard), request))
}

async fn traced(guard: Arc<Guard>, request: Request) -> Result<Value, ControlError> {
    let Of { session } = request.parse()?;
    let session: Option<SessionId> = match session {
        Some(text) => Some(text.parse().map_err(|_| {
            ControlError::new(Kind::BadRequest, "session: give 32 hexadecimal digits")
        })?),
        None => None,
    };
    let directory = guard.directory();
    let held = guard.sessions().lock().await.of(session);
    if let (Some(session), true) = (session, held.is_empty()) {
        let message = format!("no session {session} is followed here");
        return Err(ControlError::new(Kind::NotFound, message));
    }
    let mut sessions = Vec::with_capacity(held.len());
    for (session, held) in held {
        let server = held.lock().await;
        let made: Vec<Value> = server.records().map(|r| trace::hop(r, &directory)).collect();
        let begun: Vec<Value> = server.begun().map(|r| trace::hop(r, &directory)).collect();
        let admitted = guard.admitted().lock().await;
        let flows = admitted.of(session).map(|(flow, admission)| {
            json!({
                "flow": flow.as_str(),
                "until": admission.until.to_string(),
                "hops": admission.hops,
                "broken": admission.broken,
            })
        });
        sessions.push(json!({
            "session": session.to_string(),
            "hops": made,
            "begun": begun,
            "flows": flows.collect::<Vec<_>>(),
        }));
    }
    Ok(json!({ "sessions": sessions }))
}
