//! Keys that a role prints.

use clap::Args;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde_json::Value;

/// How a key is printed.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Print it in base64, as WireGuard's tools want it, and not as 64 hexadecimal digits
    #[arg(long, conflicts_with = "json")]
    base64: bool,
}

impl KeyArgs {
    /// The key of an answer, as text with a newline.
    pub(crate) fn text(&self, answer: &Value) -> String {
        let digits = answer["key"].as_str().unwrap_or_default();
        match HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
            Ok(octets) if self.base64 => format!("{}\n", BASE64.encode(&octets)),
            _ => format!("{digits}\n"),
        }
    }
}
