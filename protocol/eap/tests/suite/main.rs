//! Conversations from end to end: a peer made of the TLS library's client side against the
//! server, both in memory.
#![cfg(test)]

mod bounds;
mod certificate;
mod full;
mod negotiate;
mod peer;
mod refuse;
mod resume;
mod world;
