//! Hand-off keys, pure: messages in, messages and keys out.
//!
//! A device goes from network to network while a server serves it. Each network authorises it with
//! a key that only the two have, fetches a derivative of the key of the network before, and
//! integrates the two. The server serves the device only while it has every one of these keys. Both
//! sign what they did, the device by a key of the session: nobody makes up a hop without it.
//!
//! ```text
//!   device D                 network Nᵢ                network Nᵢ₋₁             server S
//!      │ ◄── Challenge ────────── │                          │                      │
//!      │ ─── Response, Ticket ──► │ authorise: Hᵢ            │                      │
//!      │                          │ ─── Fetch (the ticket) ► │ one way: Eᵢ₋₁        │
//!      │                          │ ◄── Fetched: Eᵢ₋₁, records                      │
//!      │                          │ integrate: Iᵢ = Eᵢ₋₁ ∘ Xᵢ, record i signed      │
//!      │ ◄── Welcome: record i ── │ ─── record i, Xᵢ ──────────────────────────────►│
//!      │ integrate: Iᵢ            │                          │       integrate: Iᵢ  │
//!      │ ◄─────────────────────────────────────────────────────────────── Demand ── │
//!      │ ─── Proof: a tag by each of Kc₁ … Kcᵢ ────────────────────────────────────►│
//!      │                          │ ─── Proof: a tag by Kcᵢ ───────────────────────►│
//! ```
//!
//! | key | who has it | what of |
//! |---|---|---|
//! | root | device, its operator | enrolment |
//! | K(D,N) | device, N's module | the root, for N |
//! | Hᵢ | device, Nᵢ's module, for a moment | K(D,Nᵢ), a secret of this hop, challenge, response |
//! | Xᵢ | device, Nᵢ, S | Hᵢ, for this server |
//! | Iᵢ | device, Nᵢ, S, until the next hop | Eᵢ₋₁, Xᵢ, the hash of all records |
//! | Eᵢ₋₁ | device, Nᵢ₋₁, Nᵢ, S | Iᵢ₋₁, for Nᵢ and this hop alone |
//! | Pᵢ | device, Nᵢ₋₁, Nᵢ, S; Nᵢ's ePDG | Eᵢ₋₁ |
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
//! | [`plan`] | [`Plan`]: when the device hops, and when it proves |
//! | [`module`] | [`Question`], [`Visit`]: a network's side of one session |
//! | [`ppk`] | what an ePDG demands, by its name |
//! | [`server`] | [`Server`]: follows a chain and checks proofs |
//! | `sign` | [`Signer`]: signatures, of networks and of devices |
//! | `state` | what each side keeps over a restart |
//! | [`error`] | [`Refusal`]: why not, naming the hop |
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod codec;
pub mod device;
pub mod error;
pub mod key;
pub mod message;
pub mod module;
pub mod plan;
pub mod ppk;
pub mod record;
pub mod server;
mod sign;
mod state;
#[doc(hidden)]
pub mod testing;

pub use device::Device;
pub use error::{Refusal, Side, Why};
pub use key::{DeviceKey, RootKey};
pub use message::{
    Challenge, Demand, Fetch, Fetched, Flow, Proof, Response, SessionId, Ticket, Welcome,
};
pub use module::{Question, Visit};
pub use plan::Plan;
pub use ppk::{Ppk, PpkId};
pub use record::{Directory, Record, Standing};
pub use server::{Asked, Server};
pub use sign::{NoSeed, Signer};
pub use state::Saved;
