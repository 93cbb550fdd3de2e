//! The command as people and scripts use it: the real binary, in directories of its own.
#![cfg(all(
    feature = "core",
    feature = "gateway",
    feature = "device",
    feature = "security-module",
    feature = "guard"
))]
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

mod admin;
mod bench;
mod channel;
mod config;
mod csv;
mod device;
mod handoff;
mod help;
mod managed;
mod offload;
mod running;
mod secrecy;
