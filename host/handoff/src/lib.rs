//! What carries the key chain of hand-offs (`homeward-keychain`): gRPC between security modules,
//! application servers and devices.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `[handoff]`: what modules and servers are told alike |
//! | [`directory`] | [`Directory`]: who is who, by key; [`Book`], which is changed while it is read |
//! | [`identity`] | [`Identity`]: a module's or server's own name and key |
//! | [`key_file`] | keys in files |
//! | [`peers`] | [`Peers`]: asks modules and servers, over mutual TLS |
//! | [`mod@line`] | [`Line`]: a device speaks to a module or a server, and is spoken to |
//! | [`server`] | [`Server`]: answers both; [`Answers`] is what a role does about it |
//! | [`walk`] | what a device does by a line: hops, and has flows admitted |
//! | [`trace`] | records, for people and programs |
//! | [`evidence`] | checks a trace again |
//! | [`doctor`] | what is wrong among peers, and the repair |
//! | [`error`] | what can go wrong, and whose fault it is |
//!
//! The crate's promise: whom an answer is from, and whom a question is from, is what the directory
//! says of the key that the other end has proven, and nothing else; calls have deadlines, and are
//! repeated within them.
#![forbid(unsafe_code)]

pub mod config;
pub mod directory;
pub mod doctor;
pub mod error;
pub mod evidence;
pub mod identity;
pub mod key_file;
pub mod line;
pub mod peers;
mod redact;
pub mod server;
mod tls;
pub mod trace;
pub mod walk;

pub use config::HandoffConfig;
pub use directory::{Book, Directory, DirectoryError, Peer};
pub use error::{CallError, Refused};
pub use identity::{Identity, IdentityError};
pub use key_file::KeyFileError;
pub use line::{Line, LineError, Said, Told};
pub use peers::{PeerSettings, Peers};
pub use server::{Answers, BindError, Listen, Server, ServerSettings};
pub use walk::WalkError;

/// The schema.
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::doc_markdown,
    reason = "generated; the schema documents it"
)]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/homeward.handoff.v1.rs"));
}
