//! The network lab: namespaces, links with loss and delay, real DHCP.
