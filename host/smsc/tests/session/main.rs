//! Sessions with an SMSC that does what the test says.
#![cfg(test)]

mod incoming;
mod life;
mod outgoing;
mod tls;
mod world;
