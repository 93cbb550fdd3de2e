//! The roaming datastore: traits, SQLite, an in-memory twin, sealed keys, the outbox.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | [`Store`] and the traits it is made of: what a datastore does |
//! | [`change`] | `New*`, `*Change`, `*Filter`, [`Page`]: what the traits are asked with |
//! | [`enrolment`] | [`Enrolment`]: who may open a control channel |
//! | [`moves`] | [`Moves`]: between which gateways devices move |
//! | [`subscriber`] | [`Subscribers`]: who the cellular network knows |
//! | [`policy`] | [`Policies`]: what devices are told |
//! | [`issuing`] | [`Issuing`]: credentials, and for whom they were issued |
//! | [`bearers`] | [`Bearers`]: which address is whose on the cellular side |
//! | [`audit`] | [`Audit`]: who changed what |
//! | [`outbox`] | [`OutboxEntry`]: every mutation, in order, for those who keep a projection |
//! | [`error`] | [`Error`]: what can go wrong, whose fault it is, and the repair |
//! | [`sqlite`] | [`SqliteStore`]: one file, several processes |
//! | [`memory`] | [`MemoryStore`]: the same semantics, nothing on disk |
//!
//! The secrets in it are sealed by `homeward-seal`, with the keys of a file outside the database.
//!
//! One rule for identifiers: they are given in rising order and never given again, so that a
//! deleted record's identifier never comes to mean another record.
//!
//! A projection is loaded and kept fresh in this order: read [`Outbox::outbox_head`], load
//! [`Roaming::roaming_records`] page by page, then follow [`Outbox::outbox_after`] from that head.
//! An entry may then tell what the load saw already; taking it twice does no harm.
#![forbid(unsafe_code)]

pub mod audit;
pub mod bearers;
pub mod change;
mod check;
pub mod enrolment;
pub mod error;
pub mod issuing;
pub mod memory;
pub mod moves;
pub mod outbox;
pub mod policy;
mod sealed;
pub mod sqlite;
pub mod store;
pub mod subscriber;
#[doc(hidden)]
pub mod testing;

pub use audit::{Actor, ActorError, Audit, AuditEntry, AuditFilter, AuditKind};
pub use bearers::{BearerChange, Bearers, StoredBearer};
pub use change::{
    AccountChange, AccountFilter, ClassChange, DeviceChange, DeviceFilter, GatewayChange,
    GatewayFilter, LoginChange, LoginFilter, NetworkChange, NetworkFilter, NewAccount, NewClass,
    NewDevice, NewGateway, NewLogin, NewNetwork, Page,
};
pub use enrolment::{
    Credential, CredentialEnd, Enrolment, GatewayAccess, NewCredential, Redeemed, Renewed,
    StoredAuthority,
};
pub use error::{Entity, Error, Invalid, OpenError, Result};
pub use issuing::{Issued, IssuedFacts, IssuedFilter, Issuing, NewIssue, Way};
pub use memory::MemoryStore;
pub use moves::{MoveWeight, Moves};
pub use outbox::{
    DeviceFacts, GatewayFacts, KeyKind, LoginFacts, Operation, OutboxEntry, OutboxRecord, Seq,
    VerifierKind,
};
pub use policy::{Policies, StoredPolicy};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{
    Accounts, Classes, Dependents, Devices, Gateways, Keys, Logins, Networks, Outbox, Roaming,
    Rotation, Scope, Store,
};
pub use subscriber::{NewSubscriber, SubscriberChange, SubscriberFilter, Subscribers};
