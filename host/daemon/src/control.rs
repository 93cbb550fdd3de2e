//! The local status socket of a role.
//!
//! A Unix stream socket. A client sends one line, a JSON object with `command` and whatever else
//! the command takes; it receives one JSON document and the connection is closed:
//!
//! ```text
//! > {"command":"status"}
//! < {"result":{"vaps":[]}}
//! > {"command":"dance"}
//! < {"error":{"kind":"unknown-command","message":"…"}}
//! ```
//!
//! The server is [`Control`], the client [`ask`].

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use client::{AskError, ask};
pub use server::{BindError, Control, ControlOptions};

mod client;
mod server;

/// The longest request, in octets, newline included.
pub const MAX_REQUEST: usize = 64 * 1024;

/// The longest answer that a client takes, in octets.
pub const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Where roles put their sockets unless told otherwise.
pub const RUN_DIRECTORY: &str = "/run/homeward";

/// The socket of a role, by its name: `/run/homeward/gateway.sock`.
pub fn default_path(role: &str) -> PathBuf {
    Path::new(RUN_DIRECTORY).join(format!("{role}.sock"))
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// Whatever else the command takes.
    #[serde(flatten)]
    pub arguments: Map<String, Value>,
}

impl Request {
    /// A command without arguments.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), arguments: Map::new() }
    }

    /// The same with an argument more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    /// The arguments as a type of the command's own.
    ///
    /// # Errors
    ///
    /// [`ControlError`] of kind `bad-request`, naming the argument.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ControlError> {
        T::deserialize(Value::Object(self.arguments.clone()))
            .map_err(|e| ControlError::new(Kind::BadRequest, format!("{}: {e}", self.command)))
    }
}

/// Why a command was not carried out, as it travels to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// The reason, for programs.
    pub kind: Kind,
    /// The reason, for people.
    pub message: String,
}

/// Why a command was not carried out, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The role has no such command.
    UnknownCommand,
    /// The request could not be understood.
    BadRequest,
    /// What it names does not exist.
    NotFound,
    /// Not now: the role is starting, stopping, or waits for something.
    Unavailable,
    /// It was tried, and failed.
    Failed,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl ControlError {
    /// An error of that kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The answer to a command that the role does not have; `known` are those that it has.
    pub fn unknown(command: &str, known: &[&str]) -> Self {
        let message = format!("there is no command {command:?}; there are: {}", known.join(", "));
        Self::new(Kind::UnknownCommand, message)
    }

    /// It was tried, and failed. Sources are spelled out: they do not travel.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Failed, format!("{:#}", error.into()))
    }
}

/// What travels back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Result(Value),
    Error(ControlError),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)
    }
}
