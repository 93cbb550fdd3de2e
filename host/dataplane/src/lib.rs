//! The data plane: TAP devices, WireGuard and L2TPv3 over UDP.
