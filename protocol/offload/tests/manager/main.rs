//! The device's machine in a simulated world; see `world`.

mod anything;
mod clocks;
mod credentials;
mod walk;
mod wifi;
mod world;
