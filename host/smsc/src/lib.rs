//! A session with an SMSC by SMPP 3.4: short messages in and out.
//!
//! [`open`] gives what comes in, what sends, and the [`Smsc`] to run: it binds as a transceiver,
//! keeps the session alive (enquire_link), and binds again, ever more slowly, when it is lost.
//!
//! - A deliver_sm is answered once its taker says so ([`Ack::done`]). What is dropped unanswered
//!   the SMSC is told to keep, and what was open when the session ended it delivers again: so a
//!   message may come twice, but none is lost.
//! - A submit_sm that the SMSC throttles is sent again, and all others wait as long.
//! - What was submitted and not answered when the session ended may have been sent or not:
//!   [`SubmitError::Lost`] says so.
//!
//! - What it is told can be changed while it runs ([`Resettable`]): the next session has it.
//!
//! The PDUs are `rusmpp`'s. Its client is not used: it answers without asking, its queues have no
//! bounds, and it has no window.
#![forbid(unsafe_code)]

mod codec;
mod error;
mod figures;
mod message;
mod receipt;
mod run;
mod session;
mod settings;

pub use error::{Error, SubmitError};
pub use figures::Figures;
pub use message::{Ack, Address, Concatenation, Incoming, Outgoing};
pub use receipt::{Receipt, State};
pub use run::{Resettable, Sender, Smsc, open};
pub use settings::{Settings, Tls};
