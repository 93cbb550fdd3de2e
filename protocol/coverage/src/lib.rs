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
//! | | Leave right | outages caught | Prepare right | outages prepared for | lead: median, 9 of 10 | moves: mean, most | on Wi-Fi while out | off it while in |
//! |---|---|---|---|---|---|---|---|---|
//! | all three | 51 % | 95 % | 44 % | 90 % | 27.5 s, 3.0 s | 2.1, 10 | 0.7 s | 43 s |
//! | single gateway | 89 % | 18 % | 90 % | 16 % | 0 s, 0 s | 1.2, 4 | 18.9 s | 19 s |
//! | all signals | 36 % | 97 % | 48 % | 76 % | 16.5 s, 0 s | 2.7, 10 | 0.3 s | 60 s |
//! | position and map | 35 % | 66 % | 53 % | 61 % | 9.0 s, 0 s | 2.2, 12 | 23.3 s | 42 s |
//! | smoothed | 55 % | 49 % | 61 % | 36 % | 0 s, 0 s | 2.3, 12 | 3.8 s | 36 s |
//! | naive | 27 % | 97 % | 36 % | 41 % | 0.5 s, 0 s | 6.9, 38 | 0.6 s | 38 s |
//!
//! *Smoothed* is what the offload machine does: a second's smoothing, 6 dB and 3 s. *Naive* leaves
//! below the threshold and returns 6 dB above it. A walk has 1.2 outages, so that two moves are about
//! the fewest. Half of the machine's Leaves are for what is no outage of 5 s, for it leaves when that is
//! likely by a fifth ([`Settings::leave`]): higher, it is more often right, and later.
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
