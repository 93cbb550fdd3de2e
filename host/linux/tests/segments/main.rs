//! Segments for strangers: bridges, firewall, shares of a link. Each test has a network namespace
//! of its own and never touches the machine's interfaces. Needs `unshare` and `setpriv` of
//! util-linux, `ip` of iproute2 and `nft`; as another user than root also user namespaces.
#![cfg(test)]

mod bridge;
mod firewall;
mod gate;
mod inside;
mod qdisc;
