//! A device with two ways home, at the level of the data plane: two links as bad as they get, one
//! address, and what its user notices of it.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod moving;
mod spreading;
