//! The gateway role: hears what devices probe for, asks the core, and has hostapd serve them
//! under their own home SSID with their own key.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`doctor`] | looks at what the machine must give it |
//! | [`ear`] | hears probe requests on a monitor interface |
//! | [`agent`] | the machines joined: what was heard goes in, what is to be done comes out |
//! | [`hands`] | has hostapd do it |
//! | [`journal`] | log lines and metrics |
//! | [`service`] | the loop around them: sockets, status, reload, stop |
#![forbid(unsafe_code)]

pub mod agent;
mod channel;
pub mod config;
pub mod doctor;
pub mod ear;
mod frames;
mod greeter;
pub mod hands;
pub mod journal;
mod lan;
mod neighbours;
pub mod plane;
mod reach;
mod segments;
pub mod service;
pub mod tunnels;
mod wall;

pub use config::Config;
pub use service::run;
