//! Records for people and programs: where a device was, who says so, and when.

use homeward_keychain::Record;
use homeward_keychain::Standing;
use homeward_keychain::record::Directory as _;
use serde_json::{Value, json};

use crate::directory::Directory;

/// A hop, as JSON: `record` is the record itself in hexadecimal, with both signatures, for whoever
/// checks it again.
pub fn hop(record: &Record, directory: &Directory) -> Value {
    let standing = match directory.standing(&record.network, &record.key) {
        Standing::Good => "good",
        Standing::Unknown => "unknown",
        Standing::Revoked => "revoked",
    };
    json!({
        "hop": record.hop,
        "network": record.network.as_str(),
        "previous": record.previous.as_ref().map(|name| name.as_str()),
        "at": record.at.to_string(),
        "until": record.until.to_string(),
        "at_ms": record.at.0,
        "broken": record.broken,
        "epoch": record.epoch,
        "standing": standing,
        "signed": record.check_signatures().is_ok(),
        "record": data_encoding::HEXLOWER.encode(&record.encode()),
    })
}
