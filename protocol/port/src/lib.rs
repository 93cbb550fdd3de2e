//! A switch port for strangers: what may pass between a roamer and its home LAN.
