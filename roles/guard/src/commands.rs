//! What the guard's status socket can be told, besides what every role's can.
//!
//! | command | takes | answers |
//! |---|---|---|
//! | `trace` | `session`, or nothing | each hop of the sessions, with its record, and what is admitted |
//! | `key` | `session`, `purpose` | the key that the hop brought which was proven last, as 64 hexadecimal digits |

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

#[derive(Deserialize)]
struct KeyOf {
    session: String,
    purpose: String,
}

/// Adds the commands.
pub fn add(part: Part, guard: &Arc<Guard>) -> Part {
    let (asked, guard) = (Arc::clone(guard), Arc::clone(guard));
    part.command("trace", move |request| traced(Arc::clone(&guard), request))
        .command("key", move |request| key(Arc::clone(&asked), request))
}

fn session(text: &str) -> Result<SessionId, ControlError> {
    text.parse()
        .map_err(|_| ControlError::new(Kind::BadRequest, "session: give 32 hexadecimal digits"))
}

async fn key(guard: Arc<Guard>, request: Request) -> Result<Value, ControlError> {
    let KeyOf { session: text, purpose } = request.parse()?;
    let found = guard.application(session(&text)?, &purpose).await;
    let key = found.ok_or_else(|| {
        let message =
            format!("the session {text} has proven nothing, or its chain does not hold any more");
        ControlError::new(Kind::NotFound, message)
    })?;
    Ok(json!({ "key": *key.password() }))
}

async fn traced(guard: Arc<Guard>, request: Request) -> Result<Value, ControlError> {
    let Of { session } = request.parse()?;
    let session = session.as_deref().map(self::session).transpose()?;
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
