//! Hand-off keys, pure: messages in, messages and keys out.
//!
//! A device goes from network to network while a server serves it. Each network authorises it with
//! a key that only the two have, fetches a derivative of the key of the network before, and
//! integrates the two. The server serves the device only while it has every one of these keys.
//!
//! ```text
//!   device D                 network Nᵢ                network Nᵢ₋₁             server S
//!      │ ◄── Challenge ────────── │                          │                      │
//!      │ ─── Response, Ticket ──► │ authorise: Hᵢ            │                      │
//!      │                          │ ─── Fetch (the ticket) ► │ one way: Eᵢ₋₁        │
//!      │                          │ ◄── Fetched: Eᵢ₋₁, records                      │
//!      │                          │ integrate: Iᵢ = Eᵢ₋₁ ∘ Xᵢ, record i signed      │
//!      │ ◄── record i ─────────── │ ─── record i, Xᵢ ──────────────────────────────►│
//!      │ integrate: Iᵢ            │                          │       integrate: Iᵢ  │
//!      │ ◄─────────────────────────────────────────────────────────────── Demand ── │
//!      │ ─── Proof: a tag by each of Kc₁ … Kcᵢ ────────────────────────────────────►│
//!      │                          │ ─── Proof: a tag by Kcᵢ ───────────────────────►│
//! ```
//!
//! | key | who has it | what of |
//! |---|---|---|
//! | K(D,N) | device, N's module | enrolment |
//! | Hᵢ | device, Nᵢ's module, for a moment | K(D,Nᵢ), challenge, response |
//! | Xᵢ | device, Nᵢ, S | Hᵢ, for this server |
//! | Iᵢ | device, Nᵢ, S, until the next hop | Eᵢ₋₁, Xᵢ, the hash of all records |
//! | Eᵢ₋₁ | device, Nᵢ₋₁, Nᵢ, S | Iᵢ₋₁, for Nᵢ and this hop alone |
//! | Kcᵢ | device, Nᵢ, S, to the end | Iᵢ |
//!
//! S derives each Iᵢ itself, out of what it had and of the Xᵢ that Nᵢ gives it: it takes nobody's
//! word that a key was integrated. What follows for a network that lies or is broken into, and the
//! argument that it does, is in `docs/keychain.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | what is sent, with its encoding |
//! | [`record`] | signed hop records, and the check of a list of them |
//! | [`key`] | the kinds of keys; one becomes another by derivation only |
//! | [`device`] | [`Device`]: answers challenges, integrates, proves |
//! | [`module`] | [`Visit`]: a network's side of one session |
//! | [`server`] | [`Server`]: follows a chain and checks proofs |
//! | [`error`] | [`Refusal`]: why not, naming the hop |
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod codec;
pub mod device;
pub mod error;
pub mod key;
pub mod message;
pub mod module;
pub mod record;
pub mod server;
#[doc(hidden)]
pub mod testing;

pub use device::Device;
pub use error::{Refusal, Side, Why};
pub use key::DeviceKey;
pub use message::{Challenge, Demand, Fetch, Fetched, Proof, Response, Ticket};
pub use module::{Signer, Visit};
pub use record::{Directory, Record, Standing};
pub use server::Server;
