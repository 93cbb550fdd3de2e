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
//! | [`tunnels`] | what the VAPs want, what the controller says, what the data plane is told |
//! | [`plane`], `reach` | the data plane's orders carried out; the channel kept |
//! | `hosts` | where others may send: the machine's own addresses |
//! | `segments`, `wall`, `line`, `lan` | bridges of roamers, the firewall, the owner's line and LAN |
//! | `uplink` | a RADIUS proxy on loopback, for hostapd and the agent, to a core that is reached by TLS |
//! | `greeter`, `frames`, `neighbours` | routers told to stations; frames of ours; beacons heard |
//! | [`journal`] | log lines and metrics |
//! | [`service`], `reload` | the loop around them: sockets, status, stop; a new configuration |
#![forbid(unsafe_code)]

pub mod agent;

pub mod config;
pub mod doctor;
pub mod ear;
mod frames;
mod greeter;
pub mod hands;
mod hosts;
pub mod journal;
mod lan;
mod line;
mod neighbours;
pub mod plane;
mod reach;
mod reload;
mod segments;
pub mod service;
#[cfg(test)]
mod testing;
pub mod tunnels;
mod uplink;
mod wall;

pub use config::Config;
pub use service::run;
