//! Who runs the command: what the audit trail calls them.

use homeward_store::Actor;
use nix::unistd::{Uid, User};

/// `admin:NAME`. Who became root by sudo goes by the name they had; nobody but root can make that
/// up. A user without a printable name goes by their number.
pub(super) fn this_user() -> Actor {
    let uid = Uid::current();
    let before = std::env::var("SUDO_USER").ok().filter(|_| uid.is_root());
    let own = || User::from_uid(uid).ok().flatten().map(|user| user.name);
    let actor = before.or_else(own).and_then(|name| format!("admin:{name}").parse().ok());
    actor.unwrap_or_else(|| Actor::numbered("admin:", uid.as_raw()))
}
