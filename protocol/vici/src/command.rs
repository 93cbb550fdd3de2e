//! The commands that are used here, and what their answers say. Each is one request and one answer.

use crate::error::Failed;
use crate::packet::Packet;
use crate::section::{Entry, Section};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    name: &'static str,
    arguments: Section,
}

impl Command {
    const fn new(name: &'static str, arguments: Section) -> Self {
        Self { name, arguments }
    }

    /// Who are you? Answered with `daemon`, `version` and the like.
    pub fn version() -> Self {
        Self::new("version", Section::default())
    }

    /// A postquantum preshared key (RFC 8784) is to be known as `id`, to whoever calls it that, in
    /// place of one that was. What is connected already stays.
    pub fn load_ppk(id: &str, key: &[u8]) -> Self {
        let arguments = Section::default().value("id", id).value("type", "ppk").value("data", key);
        Self::new("load-shared", arguments.list("owners", [id]))
    }

    /// A shared key is to be known no more. What is connected stays; that there was none is no error.
    pub fn unload_shared(id: &str) -> Self {
        Self::new("unload-shared", Section::default().value("id", id))
    }

    /// Which shared keys are known: those that have an id. [`shared_ids`] reads the answer.
    pub fn get_shared() -> Self {
        Self::new("get-shared", Section::default())
    }

    /// A connection is to be as it is described, by its name, in place of one of that name. What is
    /// connected by the one before stays.
    pub fn load_connection(name: &str, connection: Section) -> Self {
        Self::new("load-conn", Section::default().section(name, connection))
    }

    /// A connection is to be made, so that traffic of `child` passes; the answer comes once it does,
    /// or does not within so many milliseconds.
    pub fn initiate(connection: &str, child: &str, milliseconds: u64) -> Self {
        let arguments = Section::default().value("ike", connection).value("child", child);
        Self::new("initiate", arguments.value("timeout", milliseconds.to_string()))
    }

    /// What is connected by that connection is to be no more; the other end is told, and its answer
    /// not waited for. That there is none is an error.
    pub fn terminate(connection: &str) -> Self {
        Self::new("terminate", Section::default().value("ike", connection).value("force", "yes"))
    }

    /// What it is called.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What is sent.
    pub fn request(self) -> Packet {
        Packet::Request(self.name.to_owned(), self.arguments)
    }

    /// What a packet says of it; `None` if it is about something else, and the answer is still to come.
    ///
    /// # Errors
    /// It was not done.
    pub fn answered(name: &str, packet: Packet) -> Option<Result<Section, Failed>> {
        let command = || name.to_owned();
        match packet {
            Packet::Event(..) => None,
            Packet::UnknownCommand => Some(Err(Failed::Unknown { command: command() })),
            Packet::Response(answer) => Some(match answer.text("success") {
                Some("yes") => Ok(answer),
                // What is only told has no such entry.
                None if answer.get("success").is_none() => Ok(answer),
                _ => {
                    let reason = answer.text("errmsg").unwrap_or("it does not say why").to_owned();
                    Err(Failed::Refused { command: command(), reason })
                }
            }),
            _ => Some(Err(Failed::Astray { command: command() })),
        }
    }
}

/// The ids in the answer to [`Command::get_shared`].
pub fn shared_ids(answer: &Section) -> Vec<String> {
    match answer.get("keys") {
        Some(Entry::List(_)) => answer.texts("keys").map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
