//! One pseudowire over several paths, pure: what goes where, how each path fares, and in which
//! order things are handed on.
//!
//! A device with two ways home (Wi-Fi and cellular, say) and its home gateway hold one pseudowire
//! over 1 to 4 paths. Each path is an L2TPv3 session with ids and a cookie of its own; the sequence
//! numbers are one space over all of them, with one replay window
//! ([`Inbound`](homeward_l2tp::Inbound)), so that of copies the first one passes. Both ends run the
//! same three machines:
//!
//! | machine | whose | what |
//! |---|---|---|
//! | [`Sender`] | the sending thread's, shared with the receiving one by a lock | chooses paths, measures them, notices death and revival |
//! | [`Receiver`] | the receiving thread's | counts what each path brought, and reports it to the other end |
//! | [`Reorder`] | the receiving thread's | holds what came early for a moment, never for long |
//!
//! ```text
//!  frame ─► classify ─► Sender::route ─► number, send on each ─► Sender::sent
//!                          ▲   poll_transmit: probes ─► ║ the paths
//!           handle_report ─┘◄──────── Report ◄──────────╢
//!                                                       ║
//!  frame ◄─ Reorder ◄─ Inbound ◄─ Receiver::received ◄──╜   poll_report: reports ─► the path
//! ```
//!
//! What a data plane does besides:
//!
//! - Every message of a VCCV channel goes to [`Report::decode`] (what is none may be an echo message),
//!   and every report to both [`Sender::handle_report`] and [`Receiver::handle_report`]. Then
//!   [`Sender::rtt`] goes to [`Receiver::set_rtt`] and [`Reorder::set_rtt`].
//! - [`Event`]s go to [`Reorder::set_live`], and so does, at first, which paths the other end may use; its
//!   mode goes to [`Reorder::set_mode`].
//! - A packet that the window refuses as a duplicate is noted by all four: [`Sender::heard`],
//!   [`Receiver::received`], [`Receiver::duplicate`] and [`Reorder::duplicate`]. One that it refuses as
//!   stale is noted by none.
//! - Where another session takes a path's place, [`Sender::remove_path`] and [`Receiver::remove_path`]
//!   come first.
//!
//! [`Report`]s travel in VCCV messages of the path's session, beside the echo messages of
//! `homeward_l2tp`; see [`report`]. [`classify()`] says what is small and urgent.
//!
//! Numbers, in all that goes by path, are those of packets, not of frames: a frame that is cut takes
//! several. Octets are those that the caller means to count by; the same ones throughout. With
//! headers, rates and quotas are those of the carrier.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod classify;
pub mod course;
pub mod error;
pub mod path;
pub mod receiver;
pub mod reorder;
pub mod report;
pub mod sender;
pub mod settings;
pub mod status;
#[doc(hidden)]
pub mod testing;

pub use classify::{Urgency, classify};
pub use course::Course;
pub use error::ReportError;
pub use path::{MAX_PATHS, PathId, Route};
pub use receiver::Receiver;
pub use reorder::{Reorder, ReorderCounters, Verdict};
pub use report::{REPORT_LEN, Received, Report};
pub use sender::{Event, PacketInfo, Sender};
pub use settings::{
    Mode, PathSettings, ReceiverSettings, ReorderSettings, ReportTimes, Settings, Standing,
};
pub use status::{DropReason, PathStatus, SenderCounters, Status};
