//! A bond of two paths in a small world: seeded, in virtual time, without sockets.
//!
//! ```text
//!   application ─► end 0 ═══ path 0: rate, delay, jitter, queue, loss ═══ end 1 ─► application
//!                        ═══ path 1                                   ═══
//! ```
//!
//! Each end has the three machines, and `homeward_l2tp` around them: one space of sequence numbers
//! and one window over both paths.
#![cfg(test)]

mod failure;
mod limits;
mod mirrored;
mod striped;
mod tcp;
mod world;
