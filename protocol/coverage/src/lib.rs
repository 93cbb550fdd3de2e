//! When a device with Wi-Fi and cellular leaves Wi-Fi coverage and when it enters it, foreseen: scans,
//! signals and positions in, advice out. Pure: no sockets, no clock, no files.
//!
//! [`Predictor`] is told what is heard and where the device is, and says when to *prepare* a cellular
//! tunnel (so that it is there before it is needed), when to *leave* Wi-Fi, when to *return*, and when
//! the tunnel can go again (*stay*); each [`Decision`] with its [`Reason`]s.
//!
//! ```text
//!   handle_scan ────► single gateway in range? ──┐
//!   handle_signal ──► all signals falling? ──────┼─► one opinion ─► state ─► poll_decision
//!   handle_fix ─────► position against the map ──┘
//!   handle_map
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`predictor`] | [`Predictor`]: the machine, and how three opinions become a decision |
//! | [`settings`] | [`Settings`]: each threshold and time; [`Terms`]: what the class of service decides |
//! | [`decision`] | [`Advice`], [`Decision`], [`Reason`] |
//! | [`status`] | [`Status`]: the whole of the machine, to look at |
//! | [`track`] | a gateway's signal, followed |
//! | [`map`] | [`Map`]: the operator's gateways in tiles; its octets; how it is fetched without telling where one is |
//! | [`geo`] | [`Position`], [`TileKey`], [`Region`] |
//! | [`trace`] | [`Trace`]: a walk in a file, and [`replay`] |
//!
//! # How well
//!
//! On 1000 generated walks that nothing was tuned on (`cargo run --release -p homeward-coverage --example
//! walks -- --walks 1000 --seed 100001`; [`testing::score`] says what counts, [`testing::walk`] what
//! the walks are like):
//!
//! FIGURES
//!
//! *Smoothed* is what the offload machine does: a second's smoothing, 6 dB and 3 s. *Naive* leaves
//! below the threshold and returns 6 dB above it. A walk has 1.2 outages: nobody does with fewer than
//! about two moves. The machine leaves in half of all cases for what is no outage of 5 s; with
//! [`leave`](Settings::leave) at 0.3 it does so less often, and later.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod air;
pub mod decision;
pub mod geo;
mod holds;
pub mod input;
pub mod map;
mod number;
mod opinion;
mod place;
pub mod predictor;
pub mod settings;
pub mod status;
#[doc(hidden)]
pub mod testing;
pub mod trace;
pub mod track;

pub use decision::{Advice, Decision, Reason};
pub use geo::{Offset, Position, Region, TileKey};
pub use input::{Fix, Heard, Path};
pub use map::{BssidHash, Limits, Map, MapError, Site};
pub use predictor::Predictor;
pub use settings::{Settings, Terms};
pub use status::{State, Status};
pub use trace::{Trace, TraceError, replay};
