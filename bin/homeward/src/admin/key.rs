//! `homeward admin key`: the key ring that seals the secrets in the datastore.

use clap::Subcommand;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::Clock;
use homeward_seal::{KeyId, KeyRing};
use serde::Serialize;

use super::{Context, Place};
use crate::output;

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin key create
  homeward admin key rotate")]
pub(super) enum Verb {
    /// Make the key file of a new datastore
    #[command(
        alias = "generate",
        after_long_help = "Example:
  homeward admin key create

Keep a copy of the file apart from the backups of the datastore: without it no key in there opens.
A file that is there is never overwritten."
    )]
    Create,
    /// Seal every secret anew with a new key, and destroy the old one
    #[command(after_long_help = "Example:
  homeward admin key rotate

Back up the key file after it. A backup of the datastore from before needs the key file from
before.")]
    Rotate,
    /// Show the keys' ids and dates, never the keys
    #[command(after_long_help = "Example:
  homeward admin key show --json")]
    Show,
}

#[derive(Debug, Serialize)]
struct RingView {
    path: std::path::PathBuf,
    keys: Vec<KeyView>,
}

#[derive(Debug, Serialize)]
struct KeyView {
    id: String,
    /// RFC 3339; only the newest key's is told.
    created: Option<String>,
    newest: bool,
}

/// What needs no datastore; `None` if the verb does.
pub(super) fn without_store(verb: &Verb, place: &Place, json: bool) -> Option<anyhow::Result<()>> {
    match verb {
        Verb::Create => Some(create(place, json)),
        Verb::Show => Some(show(place, json)),
        Verb::Rotate => None,
    }
}

pub(super) async fn run(verb: Verb, place: &Place, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create => create(place, cx.json),
        Verb::Show => show(place, cx.json),
        Verb::Rotate => {
            let rotation = cx.store.rotate_keys().await?;
            let key = rotation.key.map(|key| key.to_string());
            let done = serde_json::json!({ "key": key, "resealed": rotation.resealed });
            cx.show(&done, || {
                format!(
                    "sealed {} secrets anew with key {}; back up {}\n",
                    rotation.resealed,
                    key.as_deref().unwrap_or("none"),
                    place.key_file.display()
                )
            })
        }
    }
}

fn create(place: &Place, json: bool) -> anyhow::Result<()> {
    if place.database.exists() && !place.key_file.exists() {
        let error = anyhow::anyhow!(
            "{} is there already, and a new key would not open it: restore {} from its backup",
            place.database.display(),
            place.key_file.display()
        );
        return homeward_daemon::ExitContext::exit(Err(error), homeward_daemon::Exit::CannotCreate);
    }
    let ring = KeyRing::generate(&place.key_file, &mut SystemEntropy::new(), SystemClock.unix())?;
    let view = view(&ring);
    if json {
        return output::json(&view);
    }
    output::text(&format!(
        "created {}; keep a copy of it apart from the datastore's backups\n",
        place.key_file.display()
    ))
}

fn show(place: &Place, json: bool) -> anyhow::Result<()> {
    let view = view(&KeyRing::load(&place.key_file)?);
    if json {
        return output::json(&view);
    }
    let mut table = output::Table::new(["key", "created", "seals"]);
    for key in &view.keys {
        let seals = if key.newest { "yes" } else { "no" };
        table.row([key.id.clone(), key.created.clone().unwrap_or_default(), seals.to_owned()]);
    }
    output::text(&table.to_string())
}

fn view(ring: &KeyRing) -> RingView {
    let newest = ring.newest();
    let is_newest = |id: KeyId| newest.is_some_and(|(newest, _)| newest == id);
    let created = newest.map(|(_, created)| created.to_string());
    let keys = ring.ids().map(|id| KeyView {
        id: id.to_string(),
        created: created.clone().filter(|_| is_newest(id)),
        newest: is_newest(id),
    });
    RingView { path: ring.path().to_owned(), keys: keys.collect() }
}
