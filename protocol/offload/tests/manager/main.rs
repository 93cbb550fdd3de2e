//! The device's machine in a simulated world; see `world`.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

mod anything;
mod clocks;
mod credentials;
mod early;
mod keys;
mod messages;
mod portal;
mod walk;
mod wifi;
mod words;
mod world;
