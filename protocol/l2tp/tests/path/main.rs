//! The path machine, in a simulated network: see `world.rs`.
#![cfg(test)]

mod moves;
mod mtu;
mod silence;
mod start;
mod world;
