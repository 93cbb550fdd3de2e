//! The listener, by clients that behave and clients that do not.
//!
//! Clients have addresses of their own: all of 127.0.0.0/8 is here.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod limits;
mod proxies;
mod slow;
mod world;
