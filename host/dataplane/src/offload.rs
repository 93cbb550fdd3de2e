//! What a network card with offloads would do, over buffers: no I/O, no state of its own.
//!
//! | module | does |
//! |---|---|
//! | [`vnet`] | reads and writes the virtio-net header |
//! | [`checksum`] | the Internet checksum |
//! | [`packet`] | finds TCP in a frame |
//! | [`segment`] | cuts super-frames into frames, completes checksums (TSO) |
//! | [`coalesce`] | makes super-frames of frames (GRO) |
//! | [`mss`] | lowers the MSS option of SYNs |
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod checksum;
pub mod coalesce;
pub mod mss;
pub mod packet;
pub mod segment;
pub mod vnet;
