//! The station by each of its ways, against the real programs.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod control;
mod managed;
mod world;
