//! The certificate authority: in the store, made by whoever needs it first.

use std::sync::Arc;

use anyhow::Context;
use homeward_channel::{Authority, AuthorityParts};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::Clock;
use homeward_store::{Store, StoredAuthority};

/// The store's authority; made and kept, if there is none yet.
///
/// # Errors
///
/// If the store fails, or what it holds is no authority.
pub async fn load_or_found(store: &dyn Store) -> anyhow::Result<Arc<Authority>> {
    let stored = match store.authority().await? {
        Some(stored) => stored,
        None => {
            let made = Authority::generate(SystemClock.unix(), &mut SystemEntropy::new())?;
            let new = StoredAuthority { certificate: made.certificate, key: made.key };
            // Another process may come first; the first one stands.
            let stands = store.found_authority(&new).await?;
            if stands == new {
                tracing::info!("certificate authority made");
            }
            stands
        }
    };
    let parts = AuthorityParts { certificate: stored.certificate, key: stored.key };
    let authority = Authority::load(&parts).context("the datastore's authority is no use")?;
    Ok(Arc::new(authority))
}
