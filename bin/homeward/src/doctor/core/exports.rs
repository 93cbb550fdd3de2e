//! The cursor files of exports for billing: where the core cannot read one, it deletes no session.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use homeward_daemon::doctor::Findings;
use homeward_ledger::{Cursor, Error, LedgerReader};
use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::core::Config;

/// The permission bits of a class that let it read a file, and go through a directory.
const READ: u32 = 0o4;
const ENTER: u32 = 0o1;

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    let exports = &config.aaa.accounting.exports;
    if exports.is_empty() {
        return;
    }
    let last = last_told(config, found).await;
    let user = CoreUser::of(config);
    for path in exports {
        let name = path.display();
        let export = format!("`homeward admin usage export --cursor-file {name} --out FILE`");
        let at = match Cursor::read(path) {
            Ok(Some(at)) => at,
            Ok(None) => {
                found.warn(
                    format!("the cursor file {name} is not there: no session is deleted until it is"),
                    format!("{export} makes it; if nobody does that, take it out of aaa.accounting.exports"),
                );
                continue;
            }
            Err(error) => {
                found.fail(
                    format!("no session is deleted: {:#}", anyhow::Error::new(error)),
                    format!("mend {name}, or remove it: {export} makes another, and begins anew"),
                );
                continue;
            }
        };
        if let Some(last) = last.filter(|last| at > *last) {
            let ahead = Error::CursorAhead { path: path.clone(), at, last };
            found.fail(
                format!("no session is deleted: {ahead}"),
                format!("`rm {name}`, then {export}"),
            );
        } else if let Some((user, why)) = user.as_ref().and_then(|user| user.kept_from(path)) {
            found.fail(
                format!("no session is deleted: the core's user {user} cannot read the cursor file {name}: {why}"),
                format!("`chown {user} {name}` where it is the file, and have {user} run the export"),
            );
        } else {
            found
                .ok(format!("the export with the cursor file {name} has taken all up to {}", at.0));
        }
    }
}

/// How far there is something to export; `None` where there is no ledger yet, or none to be read.
async fn last_told(config: &Config, found: &mut Findings) -> Option<Cursor> {
    let path = config.ledger();
    if !path.exists() {
        return None;
    }
    let read = async {
        let ledger = LedgerReader::open(&path).await?;
        let last = ledger.last_closing().await;
        ledger.close().await;
        last
    };
    let read = read.await.map_err(|error| {
        let what = format!("the ledger does not open: {:#}", anyhow::Error::new(error));
        found.warn(what, "do what the error says");
    });
    read.ok()
}

/// Whom the core runs as, where that is not who looks: only its own user can open the datastore.
struct CoreUser {
    uid: Uid,
    groups: Vec<Gid>,
    name: String,
}

impl CoreUser {
    fn of(config: &Config) -> Option<Self> {
        let owner = fs::metadata(&config.store.path).ok()?;
        let uid = Uid::from_raw(owner.uid());
        if uid.is_root() || uid == Uid::effective() {
            return None;
        }
        let groups = User::from_uid(uid).ok().flatten().and_then(|user| {
            let name = std::ffi::CString::new(user.name).ok()?;
            getgrouplist(&name, user.gid).ok()
        });
        let groups = groups.unwrap_or_else(|| vec![Gid::from_raw(owner.gid())]);
        Some(Self { uid, groups, name: name_of(uid) })
    }

    /// What this user is called, and what keeps it from reading a file; `None` if nothing does.
    fn kept_from(&self, path: &Path) -> Option<(&str, String)> {
        let path = path.canonicalize().ok()?;
        // From the root down: what is met first.
        let mut parts: Vec<_> = path.ancestors().collect();
        parts.reverse();
        Some((&self.name, parts.into_iter().find_map(|part| self.stopped_at(part))?))
    }

    /// Why this user cannot read that file, or enter that directory, if so.
    fn stopped_at(&self, part: &Path) -> Option<String> {
        let there = fs::metadata(part).ok()?;
        let bit = if there.is_dir() { ENTER } else { READ };
        (!self.may(&there, bit)).then(|| {
            let owner = name_of(Uid::from_raw(there.uid()));
            format!("{} is {owner}'s, mode {:04o}", part.display(), there.mode() & 0o7777)
        })
    }

    /// Whether the permission bits let this user. Who is the owner has the owner's, and no other.
    fn may(&self, there: &Metadata, bit: u32) -> bool {
        let shift = if there.uid() == self.uid.as_raw() {
            6
        } else if self.groups.iter().any(|group| group.as_raw() == there.gid()) {
            3
        } else {
            0
        };
        there.mode() & (bit << shift) != 0
    }
}

/// A user's name, or number if it has none.
fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    type Change = fn(u32) -> u32;

    /// Whether who has that user and group, seen from the owner of a file, may read it, by mode.
    fn reads(user: Change, group: Change, mode: u32) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("billing.cursor");
        fs::write(&path, "7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let there = fs::metadata(&path).unwrap();
        let uid = Uid::from_raw(user(there.uid()));
        let groups = vec![Gid::from_raw(4_000_000), Gid::from_raw(group(there.gid()))];
        CoreUser { uid, groups, name: String::new() }.may(&there, READ)
    }

    #[test]
    fn a_file_is_read_by_whom_its_mode_lets() {
        let (same, other): (Change, Change) = (|id| id, |id| id + 1);
        for (mode, owner, group, rest) in
            [(0o600, true, false, false), (0o640, true, true, false), (0o604, true, false, true)]
        {
            assert_eq!(reads(same, other, mode), owner, "{mode:o}");
            assert_eq!(reads(other, same, mode), group, "{mode:o}");
            assert_eq!(reads(other, other, mode), rest, "{mode:o}");
        }
        assert!(!reads(same, same, 0o044), "an owner has no bits but the owner's");
    }

    #[test]
    fn what_is_in_the_way_is_named_with_its_mode_be_it_a_file_or_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("billing.cursor");
        fs::write(&file, "7\n").unwrap();
        let (uid, groups) = (Uid::from_raw(4_000_000), Vec::new());
        let user = CoreUser { uid, groups, name: String::new() };
        for (path, lets, not) in [(directory.path(), 0o711, 0o766), (&file, 0o604, 0o671)] {
            fs::set_permissions(path, fs::Permissions::from_mode(lets)).unwrap();
            assert_eq!(user.stopped_at(path), None);
            fs::set_permissions(path, fs::Permissions::from_mode(not)).unwrap();
            let why = user.stopped_at(path).unwrap();
            let fits = why.starts_with(path.to_str().unwrap());
            assert!(fits && why.ends_with(&format!("mode {not:04o}")), "{why}");
        }
    }
}
