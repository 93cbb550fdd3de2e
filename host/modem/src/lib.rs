//! What a cellular modem knows, and the messages that go through it.
//!
//! | module | what it is |
//! |---|---|
//! | [`facts`] | pure: [`Facts`], which is all that is known |
//! | [`modem`] | [`Modem`]: facts as they change, messages as they come |
//! | [`message`] | [`Message`], and [`Sender`], which sends them |
//! | `manager` | the source that is ModemManager, asked over D-Bus |
//! | `properties` | pure: ModemManager's properties, decoded |
//! | `fixed` | the source that is the configuration, for machines without a modem manager |
//! | `network` | the interfaces' addresses, as the kernel has them |
//!
//! Written for ModemManager 1.20 (Debian 12) and later. It is a fact that ModemManager is not
//! there, or no modem, not an error: both come and go while a machine runs.
#![forbid(unsafe_code)]

pub mod facts;
mod fixed;
mod manager;
pub mod message;
pub mod modem;
mod network;
mod properties;

pub use facts::{Bearer, Facts, ModemFacts, Registration, Signal, Sim, Technology};
pub use message::{Message, Number, NumberError, Sender, SmsError};
pub use modem::{Bus, Fixed, Managed, Modem, ModemError, News};
