//! Names of network interfaces.

use std::fmt;
use std::str::FromStr;

/// The name of a network interface: 1 to 15 characters out of `a-z A-Z 0-9 . _ -`, the first a
/// letter or digit. Narrower than the kernel's rule, so that a name can stand in a file name, in
/// a line of configuration and in a control command without being anything else there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

/// A text that is no interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an interface name: give 1 to 15 letters, digits, '.', '_' or '-', the first a letter or digit"
)]
pub struct InterfaceNameError(pub String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InterfaceName {
    /// `wlan0`, the kernel's name for the first radio's interface.
    fn default() -> Self {
        Self("wlan0".to_owned())
    }
}

/// Whether `text` is an interface name.
pub fn is_name(text: &[u8]) -> bool {
    (1..=15).contains(&text.len())
        && text.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        && text.first().is_some_and(u8::is_ascii_alphanumeric)
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, InterfaceNameError> {
        if is_name(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InterfaceNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_name_is_safe_in_files_paths_and_commands() {
        for good in ["wlan0", "hw-1", "br0.10", "a", "123456789012345"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "-x", "a b", "a/b", "a\nb", "a=b", "a:b", "1234567890123456", "ü"]
        {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }
}
