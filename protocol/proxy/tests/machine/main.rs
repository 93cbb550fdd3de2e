//! The machine, with a NAS before it and home servers behind it.
#![cfg(test)]

mod answers;
mod chain;
mod failover;
mod forwarding;
mod histories;
mod limits;
mod streams;
mod world;
