//! The network lab: namespaces, links with loss and delay, real DHCP.

pub mod cable;
pub mod flow;
pub mod lab;
pub mod namespace;
pub mod place;
pub mod process;
pub mod random;
pub mod timeline;
pub mod tool;
pub mod wait;
pub mod wire;

pub use cable::{Cable, Lane};
pub use flow::Flow;
pub use lab::{Lab, lab};
pub use namespace::Namespace;
pub use process::Process;
pub use timeline::Timeline;
pub use wire::{Counters, Impairment};
