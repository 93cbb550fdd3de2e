//! Credentials by short message, through an SMSC that is none of ours: the npm package smpp.
#![cfg(test)]

mod refused;
mod session;
mod walk;
mod world;
