//! RADIUS accounting, pure: what a NAS reports, and what becomes of a session.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | [`Record`]: one report of a NAS, in the model's words |
//! | `decode` | a [`Record`] out of an Accounting-Request |
//! | [`figures`] | [`Figures`]: octets, packets and seconds |
//! | [`session`] | [`Session`]: the machine that records are applied to |
//! | [`settings`] | the times and limits |
//! | [`quota`] | periods, days, and whether a quota is spent |
//!
//! ```text
//!  Packet ─► Record ─► Session::place ── Here ───► Session::apply ─► Applied { delta, closing }
//!                          └── Later: the identifier is used anew, for another session
//! ```
//!
//! A session's figures are the greatest that any of its records had. So it does not matter in
//! which order records come, how often, and which of them are lost on the way, as long as the
//! last one comes; and what a record adds to somebody's usage is the growth it caused
//! ([`Applied::delta`]), of which the sum is the session's figures at any time.
//!
//! A session ends once: by its Stop, or because its NAS restarted or fell silent. What is learned
//! of it later is a correction of that end ([`ClosingKind::Correction`]), for exactly the
//! difference.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod figures;
pub mod quota;
pub mod record;
pub mod session;
pub mod settings;
#[doc(hidden)]
pub mod testing;

mod decode;

pub use decode::RecordError;
pub use figures::Figures;
pub use quota::{Day, DayError, Period, Standing, Used};
pub use record::{Identity, Kind, Nas, Private, Record};
pub use session::{Applied, Cause, Closing, ClosingKind, End, Facts, News, Phase, Place, Session};
pub use settings::Settings;
