//! RADIUS realm routing and proxying, pure: requests of NASes in, requests to partners out, and
//! what became of each.
//!
//! | module | what it holds |
//! |---|---|
//! | [`nai`] | the realm of a User-Name (RFC 7542) |
//! | [`table`] | [`Table`]: which realm is whose; [`HomeServer`]s, [`Pool`]s, [`Route`]s |
//! | [`filter`] | [`Filter`]: what a partner may learn, and what it may set |
//! | [`settings`] | limits and times |
//! | [`proxy`] | the machine: [`Proxy`] |
//! | [`event`] | what the machine says: [`Routed`], [`Transmit`], [`Event`], [`Answer`] |
//! | [`reason`] | why a request is not answered by a home server: [`Reason`], [`Rejection`] |
//! | `rewrite` | a packet of one hop as a packet of the next |
//! | `home` | one home server: identifiers, and whether it answers |
//! | `mark` | the Proxy-State that is ours |
//! | `conversations` | which server an EAP conversation is with |
//!
//! A request through it all, as the worker of a server does it:
//!
//! ```text
//!  NAS ⇒ Server::handle ─ Request ─► Proxy::request ─ Local ───► decided here
//!              │                        │   └──────── Rejected ► Rejection::write_to ─┐
//!              └─ InProgress ─► Proxy::repeat                                         │
//!                                       ▼                                             │
//!                               Proxy::poll_transmit ⇒ a home server                  │
//!                                                           ⇓                         │
//!                               Proxy::handle_answer ◄──────┘                         │
//!                                       ▼                                             ▼
//!                               Proxy::poll_event ─ Answered ─► Answer::write_to ─► Server::respond ⇒ NAS
//! ```
//!
//! [`homeward_radius::Server`] stays in front: it verifies, knows repetitions, signs, and puts the
//! NAS's Proxy-States back in order (RFC 2865 5.33). The proxy behind it hides anew what one hop
//! hid, and decides who is asked. Exactly one thing comes of every request that was forwarded:
//! [`Event::Answered`], [`Event::Rejected`] or [`Event::Abandoned`].
//!
//! It never sends a request again of its own accord to a server that has it: a NAS knows best
//! whether somebody still waits (RFC 5080 2.2.1). What it does by itself is to ask another server
//! when one does not answer. That is why it is not built on [`homeward_radius::Client`], which is
//! the machine of one who asks for himself, with the timers of one.
//!
//! Not here: sockets, connections and clocks (the caller's), CoA and Disconnect.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod event;
pub mod filter;
pub mod nai;
pub mod proxy;
pub mod reason;
pub mod settings;
pub mod table;
#[doc(hidden)]
pub mod testing;

mod conversations;
mod home;
mod mark;
mod rewrite;

pub use event::{Answer, Event, Health, Octets, RewriteError, Routed, Transmit};
pub use filter::{Clamp, Filter, Which};
pub use mark::Key;
pub use nai::NameError;
pub use proxy::{Asker, Proxy};
pub use reason::{Reason, Rejection};
pub use settings::{OperatorName, Settings};
pub use table::{
    Accounting, Balance, Check, HomeServer, Pattern, Pool, PoolId, Route, ServerId, Table,
    TableError, Target, Transport, Unanswered, Watch,
};
