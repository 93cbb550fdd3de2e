//! The bridge: a stand-in for the RADIUS accounting that a packet gateway sends.
//!
//! osmo-ggsn sends none, nor does any open packet gateway. So this looks at what it has, many times
//! a second, and reports what has changed as 3GPP TS 29.061 16.4 has a gateway report it:
//! Accounting-On when the gateway is up, Start, Interim-Update and Stop for each PDP context,
//! Accounting-Off when the bridge stops. What it cannot know it leaves out: no octets are counted,
//! and a context that comes and goes between two looks is never seen.
//!
//! | module | does |
//! |---|---|
//! | [`reporter`] | what is to be reported, in which order: a pure machine |
//! | [`report`] | a report as RADIUS attributes |
//! | [`mod@run`] | the loop: VTY, machine, RADIUS client, sockets |

pub mod report;
pub mod reporter;
pub mod run;

pub use report::{Nas, Report, ReportKind};
pub use reporter::{Reporter, ReporterSettings};
pub use run::{Config, run};
