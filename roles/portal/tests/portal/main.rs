//! The portal at its desk: who is given what, in which form, and who is not.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod enrolled;
mod forms;
mod given;
mod refused;
mod world;
