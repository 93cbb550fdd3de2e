//! What the module's status socket can be told, besides what every role's can.
//!
//! | command | takes | answers |
//! |---|---|---|
//! | `enrol` | `device`, `version`, `key` | `enrolled` |
//! | `forget` | `device` | `forgotten` |
//! | `visits` | `session`, or nothing | the hops that are held |

use std::sync::Arc;

use homeward_daemon::control::{ControlError, Kind};
use homeward_daemon::{Part, Request};
use homeward_handoff::{key_file, trace};
use homeward_keychain::{DeviceKey, SessionId};
use homeward_model::Nai;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::module::Module;

#[derive(Deserialize)]
struct Enrol {
    device: Nai,
    version: u32,
    key: String,
}

#[derive(Deserialize)]
struct Forget {
    device: Nai,
}

#[derive(Deserialize)]
struct Of {
    #[serde(default)]
    session: Option<String>,
}

/// Adds the commands.
pub fn add(part: Part, module: &Arc<Module>) -> Part {
    let [enrols, forgets, visits] = [(); 3].map(|()| Arc::clone(module));
    part.command("enrol", move |request| enrol(Arc::clone(&enrols), request))
        .command("forget", move |request| forget(Arc::clone(&forgets), request))
        .command("visits", move |request| held(Arc::clone(&visits), request))
}

fn bad(message: impl Into<String>) -> ControlError {
    ControlError::new(Kind::BadRequest, message)
}

async fn enrol(module: Arc<Module>, request: Request) -> Result<Value, ControlError> {
    let Enrol { device, version, key } = request.parse()?;
    let key = key_file::parse(&Zeroizing::new(key)).map(|key| DeviceKey::new(*key));
    let key = key.ok_or_else(|| bad("key: give 64 hexadecimal digits"))?;
    let change = module.enrolled().lock().await.enrol(device, version, key);
    let change = change.map_err(|older| bad(older.to_string()))?;
    module.vault().commit(vec![change]).await.map_err(|e| failed(&e))?;
    Ok(json!({ "enrolled": true }))
}

async fn forget(module: Arc<Module>, request: Request) -> Result<Value, ControlError> {
    let Forget { device } = request.parse()?;
    let change = module.enrolled().lock().await.forget(&device);
    let none =
        || ControlError::new(Kind::NotFound, format!("{} is not enrolled here", device.as_str()));
    module.vault().commit(vec![change.ok_or_else(none)?]).await.map_err(|e| failed(&e))?;
    Ok(json!({ "forgotten": true }))
}

async fn held(module: Arc<Module>, request: Request) -> Result<Value, ControlError> {
    let Of { session } = request.parse()?;
    let session: Option<SessionId> = match session {
        Some(text) => Some(text.parse().map_err(|_| bad("session: give 32 hexadecimal digits"))?),
        None => None,
    };
    let directory = module.directory();
    let held = module.visits().lock().await.of(session);
    let mut hops = Vec::with_capacity(held.len());
    for held in held {
        let visit = held.lock().await;
        let Some(welcome) = visit.welcome() else { continue };
        hops.push(json!({
            "session": visit.session().to_string(),
            "server": visit.server().as_str(),
            "device": visit.device().as_str(),
            "given_to": visit.given_to().map(|name| name.as_str()).collect::<Vec<_>>(),
            "hop": trace::hop(&welcome.record, &directory),
        }));
    }
    Ok(json!({ "visits": hops }))
}

fn failed(error: &homeward_vault::VaultError) -> ControlError {
    ControlError::new(Kind::Failed, error.to_string())
}
