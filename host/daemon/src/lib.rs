//! What every daemon needs, so that a role is policy only.
//!
//! | module | gives |
//! |---|---|
//! | [`clock`] | [`SystemClock`], deadlines to wait for, CPU time |
//! | [`entropy`] | [`SystemEntropy`]: the kernel's random octets, buffered |
//! | [`config`] | [`config::load`]: TOML with errors that name file, line and key; [`SecretSource`], [`Period`], [`Size`], [`Rate`] |
//! | [`log`] | where log lines go and in which form |
//! | [`lifecycle`] | [`Shutdown`] and [`Reload`], and the signals that cause them |
//! | [`notify`] | what the service manager is told |
//! | [`control`] | the local status socket, server and client |
//! | [`metrics`] | the registry, and its text over the status socket or HTTP |
//! | [`process`] | [`Process`]: roles that share a process, its status socket and its metrics |
//! | [`exit`] | [`Exit`]: what the process's exit status says |
//! | [`doctor`] | what a look at the machine finds, and the repair |
//! | [`private`] | directories and files for our eyes only |
//!
//! Everything async runs on a current-thread Tokio runtime as well as on a multi-thread one.

pub mod clock;
pub mod config;
pub mod control;
pub mod doctor;
pub mod entropy;
pub mod exit;
pub mod lifecycle;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod private;
pub mod process;

mod units;

pub use clock::SystemClock;
pub use config::{ConfigError, Invalid, SecretSource};
pub use control::{Control, ControlError, Request};
pub use entropy::SystemEntropy;
pub use exit::{Exit, ExitContext};
pub use lifecycle::{Reload, Shutdown};
pub use metrics::Metrics;
pub use process::{Part, Process};
pub use units::{Period, Rate, Size, UnitError};
