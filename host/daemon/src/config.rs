//! Configuration: TOML, one file per role, with errors that say where and what.
//!
//! A role's configuration is a struct with `#[derive(Deserialize)]` and
//! `#[serde(deny_unknown_fields)]`, its spans of time [`Period`](crate::Period), its sizes
//! [`Size`](crate::Size), its secrets [`SecretSource`]. What serde cannot check, a function checks
//! that returns [`Invalid`]:
//!
//! ```no_run
//! # use homeward_daemon::{config, Invalid, Period, SecretSource};
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     channel: u8,
//!     idle: Period,
//!     secret: SecretSource,
//! }
//!
//! let config: Config = config::load_with("/etc/homeward/gateway.toml".as_ref(), |c: &Config| {
//!     if (1..=13).contains(&c.channel) {
//!         return Ok(());
//!     }
//!     Err(Invalid::new("channel", "a channel of the 2.4 GHz band is 1 to 13"))
//! })?;
//! # Ok::<_, config::ConfigError>(())
//! ```

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use secret::{SecretError, SecretSource};

mod secret;

/// Larger files are refused: no configuration is, and a device file would never end.
const MAX_FILE: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that it must not.
    #[error("{path}:{place}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Location,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, such as `servers[1].address`; `None` where the text is no TOML there.
    pub key: Option<String>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)?;
        match &self.key {
            Some(key) => write!(f, ": {key}"),
            None => Ok(()),
        }
    }
}

/// A value that is well formed and yet not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    key: String,
    message: String,
}

impl Invalid {
    /// The `key` is spelled as in `servers[1].address` (from 0); the `message` says what is wrong
    /// and what is allowed.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The same, of a part that is the table `table` of a whole.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }
}

/// Reads the configuration in `path`.
///
/// # Errors
///
/// [`ConfigError`], naming file, line, column and key.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    load_with(path, |_| Ok(()))
}

/// Reads the configuration in `path` and checks it. An [`Invalid`] key is looked up, so that the
/// error names its line.
///
/// # Errors
///
/// [`ConfigError`], naming file, line, column and key.
pub fn load_with<T: DeserializeOwned>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<(), Invalid>,
) -> Result<T, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text, check)
}

/// Like [`load_with`], from a text that is at hand; errors call it `path`.
///
/// # Errors
///
/// [`ConfigError::Wrong`], naming line, column and key.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    check: impl FnOnce(&T) -> Result<(), Invalid>,
) -> Result<T, ConfigError> {
    let wrong = |span: Range<usize>, key: Option<String>, message: String| {
        let (line, column) = line_and_column(text, span.start);
        let place = Location { line, column, key };
        ConfigError::Wrong { path: path.to_owned(), place, message }
    };
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message();
        // What the parser says of a word that should have been a text: it took it for a number.
        let hint =
            if message.ends_with("expected nothing") { " (a text is \"quoted\")" } else { "" };
        let message = format!("no TOML: {message}{hint}");
        wrong(error.span().unwrap_or_default(), None, message)
    })?;
    let config: T = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        wrong(span.clone(), innermost(keys(&table), &span), explain(error.message()))
    })?;
    check(&config).map_err(|invalid| {
        wrong(nearest(&keys(&table), &invalid.key), Some(invalid.key), invalid.message)
    })?;
    Ok(config)
}

/// A library's message in words for people who write a configuration, not a program.
fn explain(message: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected usize", "expected a whole number from 0 on"),
        ("expected a boolean", "expected true or false"),
        (
            "invalid socket address syntax",
            "no address and port: write \"127.0.0.1:1812\" or \"[::1]:1812\"",
        ),
        ("invalid IP address syntax", "no IP address: write \"192.0.2.1\" or \"2001:db8::1\""),
        ("invalid IPv4 address syntax", "no IPv4 address: write \"192.0.2.1\""),
    ];
    let found = WORDS.iter().find_map(|(from, to)| Some((message.strip_suffix(from)?, to)));
    found.map_or_else(|| message.to_owned(), |(start, to)| format!("{start}{to}"))
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

/// A key of the document, with where it and its value stand.
struct Key {
    path: String,
    name: Range<usize>,
    value: Range<usize>,
}

/// All keys of a document.
fn keys(table: &Spanned<DeTable<'_>>) -> Vec<Key> {
    let mut found = Vec::new();
    collect_table(table.get_ref(), "", &mut found);
    found
}

fn collect_table(table: &DeTable<'_>, path: &str, found: &mut Vec<Key>) {
    for (key, value) in table.iter() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", key.get_ref());
        found.push(Key { path: path.clone(), name: key.span(), value: value.span() });
        collect_value(value.get_ref(), &path, found);
    }
}

fn collect_value(value: &DeValue<'_>, path: &str, found: &mut Vec<Key>) {
    match value {
        DeValue::Table(table) => collect_table(table, path, found),
        DeValue::Array(array) => {
            for (n, item) in array.iter().enumerate() {
                let path = format!("{path}[{n}]");
                found.push(Key { path: path.clone(), name: item.span(), value: item.span() });
                collect_value(item.get_ref(), &path, found);
            }
        }
        _ => {}
    }
}

/// The key whose name or value is the tightest around `span`.
fn innermost(keys: Vec<Key>, span: &Range<usize>) -> Option<String> {
    keys.into_iter()
        .filter_map(|key| {
            let tightest = [&key.name, &key.value]
                .into_iter()
                .filter(|r| r.start <= span.start && span.end <= r.end)
                .map(|r| r.len())
                .min()?;
            // Of two alike, the deeper: an array of tables and its only table share a header.
            Some((tightest, std::cmp::Reverse(key.path.len()), key.path))
        })
        .min()
        .map(|(_, _, path)| path)
}

/// Where the key `path` stands, or else the nearest table around it; the file's start at last.
fn nearest(keys: &[Key], path: &str) -> Range<usize> {
    let mut path = path;
    loop {
        if let Some(key) = keys.iter().find(|k| k.path == path) {
            return key.name.clone();
        }
        match path.rfind(['.', '[']) {
            Some(at) => path = path.get(..at).unwrap_or_default(),
            None => return 0..0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Period, Size};
    use serde::Deserialize;
    use std::net::SocketAddr;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Config {
        listen: SocketAddr,
        #[serde(default)]
        idle: Period,
        #[serde(default)]
        buffer: Size,
        #[serde(default)]
        radio: Radio,
        #[serde(default, rename = "client")]
        clients: Vec<Client>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Radio {
        channel: u8,
        band: Band,
    }

    #[derive(Debug, Default, Deserialize)]
    enum Band {
        #[default]
        #[serde(rename = "2.4")]
        Low,
        #[serde(rename = "5")]
        High,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Client {
        name: String,
        secret: SecretSource,
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        match config.radio.channel {
            0..=13 => Ok(()),
            n => Err(Invalid::new("radio.channel", format!("{n} is no channel: use 1 to 13"))),
        }
    }

    fn error(text: &str) -> String {
        parse::<Config>("core.toml".as_ref(), text, check).unwrap_err().to_string()
    }

    const GOOD: &str = r#"listen = "127.0.0.1:1812"
"#;

    #[test]
    fn a_good_configuration_loads() {
        let text = format!(
            "{GOOD}idle = \"4h\"\nbuffer = \"64KiB\"\n[radio]\nchannel = 6\n\
             [[client]]\nname = \"a\"\nsecret = {{ env = \"A\" }}\n"
        );
        let config: Config = parse("core.toml".as_ref(), &text, check).unwrap();
        assert_eq!((config.idle.0.as_secs(), config.buffer.0), (14_400, 65_536));
    }

    #[test]
    fn errors_name_file_line_column_and_key_and_what_is_allowed() {
        let bad = [
            ("nothing there", String::new()),
            ("no TOML", "listen = 127.0.0.1:1812\n".to_owned()),
            ("a string left open", format!("{GOOD}idle = \"4h\n")),
            ("a key twice", format!("{GOOD}{GOOD}")),
            ("an unknown key", format!("{GOOD}\n[radio]\nchanel = 6\n")),
            ("not an address", "listen = \"localhost\"\n".to_owned()),
            ("no unit", format!("{GOOD}idle = 4\n")),
            ("an unknown unit", format!("{GOOD}buffer = \"64K\"\n")),
            ("a number too large", format!("{GOOD}radio.channel = 300\n")),
            ("not allowed", format!("{GOOD}[radio]\n  channel = 14\n")),
            ("an unknown word", format!("{GOOD}[radio]\nband = \"6\"\n")),
            (
                "a field missing in the second of two",
                format!(
                    "{GOOD}[[client]]\nname = \"a\"\nsecret = {{ env = \"A\" }}\n\
                     [[client]]\nname = \"b\"\n"
                ),
            ),
            (
                "a secret written down",
                format!("{GOOD}[[client]]\nname = \"a\"\nsecret = \"hunter2\"\n"),
            ),
            (
                "a secret from nowhere",
                format!("{GOOD}[[client]]\nname = \"a\"\nsecret = {{ path = \"/x\" }}\n"),
            ),
            (
                "a secret from two places",
                format!(
                    "{GOOD}[[client]]\nname = \"a\"\nsecret = {{ file = \"/x\", env = \"X\" }}\n"
                ),
            ),
            (
                "a relative secret",
                format!("{GOOD}[[client]]\nname = \"a\"\nsecret = {{ file = \"x\" }}\n"),
            ),
        ];
        let report: Vec<String> =
            bad.iter().map(|(what, text)| format!("{what}\n  {}", error(text))).collect();
        insta::assert_snapshot!(report.join("\n"));
    }

    #[test]
    fn no_error_repeats_a_secret_that_was_written_down() {
        for value in ["\"98765432\"", "98765432", "98765432.5", "[98765432]", "{ file = 98765432 }"]
        {
            let text = format!("{GOOD}[[client]]\nname = \"a\"\nsecret = {value}\n");
            let error = parse::<Config>("core.toml".as_ref(), &text, check).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("98765432"), "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load::<Config>("/nonexistent/core.toml".as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the configuration /nonexistent/core.toml");
    }

    #[test]
    fn columns_are_counted_in_characters() {
        assert_eq!(line_and_column("a\n\u{e9}x", 4), (2, 2));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }

    #[test]
    fn a_key_that_is_not_written_is_placed_at_the_table_around_it() {
        let text = "[radio]\nchannel = 1\n[[client]]\nname = \"a\"\n";
        let keys = keys(&DeTable::parse(text).unwrap());
        let line = |path| line_and_column(text, nearest(&keys, path).start).0;
        assert_eq!(
            [line("radio.channel"), line("radio.band"), line("client[0].secret"), line("x")],
            [2, 1, 3, 1]
        );
    }
}
