//! `homeward device`: runs the device, or asks one that runs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use homeward_daemon::Request;
use homeward_device::Config;
use homeward_model::Name;

use crate::asking::{Ask, Asked, At};
use crate::key::KeyArgs;
use crate::role::{self, LogArgs};

mod status;

const ASKED: Asked =
    Asked { role: "device", socket: |path| Ok(Config::load(path)?.control.socket) };

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward device                               run with /etc/homeward/device.toml
  homeward device --config device.toml --log info,homeward_offload=debug
  homeward device status                        modem, credentials, Wi-Fi
  homeward device why                           why am I not on Wi-Fi?
  homeward device off                           stay on cellular, over restarts too
  homeward device bond mirrored                 use both ways home at once
  homeward device key sip.example digest        the key that the last hand-off brought

SIGTERM stops it, and new connections go where the system's own routes say; SIGHUP reloads.")]
pub(crate) struct DeviceArgs {
    /// The configuration file [default: /etc/homeward/device.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<DeviceCommand>,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Show the modem, the credentials, and where Wi-Fi stands
    #[command(after_long_help = "Examples:
  homeward device status
  homeward device status --json | jq .machine.state

Networks and names are shown in full, the subscriber's and the equipment's numbers are not.")]
    Status(Ask),
    /// Say why new connections do not use Wi-Fi, and what would change it
    #[command(after_long_help = "Examples:
  homeward device why
  homeward device why --json | jq -r '.causes[].cause'")]
    Why(Ask),
    /// Use Wi-Fi when it is there
    #[command(after_long_help = "Examples:
  homeward device on

Kept over restarts.")]
    On(Ask),
    /// Stay on cellular
    #[command(after_long_help = "Examples:
  homeward device off

Kept over restarts. A network that is being used is left.")]
    Off(Ask),
    /// Whether networks may be used that the operator counts as dear
    #[command(after_long_help = "Examples:
  homeward device metered yes
  homeward device metered no                    the default

Kept over restarts.")]
    Metered {
        /// Whether they may
        may: May,
        #[command(flatten)]
        ask: Ask,
    },
    /// Use both ways home at once, or one at a time
    #[command(after_long_help = "Examples:
  homeward device bond mirrored                 everything by Wi-Fi and by cellular: nothing is lost
  homeward device bond striped                  the throughput of both
  homeward device bond auto                     calls and the like by both, downloads striped
  homeward device bond off                      one at a time

From now on, until the daemon starts anew: [home] bond is what it starts with. What the class of
service does not allow is refused, and a class that is changed meanwhile takes effect at once.")]
    Bond {
        /// How
        how: How,
        #[command(flatten)]
        ask: Ask,
    },
    /// Have a server admit a flow, or keep it admitted no longer
    #[command(after_long_help = "Examples:
  homeward device flow open sip.example \"sip:alice@example.net\"
  homeward device flow close sip.example \"sip:alice@example.net\"
  homeward device status --json | jq '.handoff[].flows'

What is opened is proven at once, by each hop to come, and before its time is over. It is proven anew
where it was open already: the server may have ended it. It is not kept over a restart; what
[[handoff.servers]] lists is.")]
    Flow {
        /// Whether it is to be admitted
        what: What,
        /// The server, as [[handoff.servers]] names it
        server: Name,
        /// What is to be admitted: a call, a registration, an address and port
        flow: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Print the key that the last hop brought
    #[command(after_long_help = "Examples:
  homeward device key sip.example digest          the password for the service's digest authentication
  homeward device key sip.example wireguard --base64 | wg set wg0 peer KEY preshared-key /dev/stdin
  homeward device key sip.example ppk --network

64 hexadecimal digits, or base64. The server has the same, and from the second hop on no network by itself; with
--network it is one that the network of the hop has, too, for what goes between device and network. With
each hop it is another: a program of [notify] hears of that as HOMEWARD_NOTICE=handed-off.")]
    Key {
        /// The server, as [[handoff.servers]] names it
        server: Name,
        /// What it is for: digest, wireguard, ppk
        purpose: String,
        /// One that the network of the last hop has, too
        #[arg(long)]
        network: bool,
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show the running device's metrics (OpenMetrics text)
    #[command(after_long_help = "Examples:
  homeward device metrics | grep offloads")]
    Metrics(At),
    /// Have the running device read its configuration again
    #[command(after_long_help = "Examples:
  homeward device reload

[portal] but for its sms, [check] and [notify] take effect at once. What has changed besides is listed: it takes
effect with a restart. A file that is wrong changes nothing.")]
    Reload(Ask),
    /// Ask the portal for other hand-off keys, in place of those that there are
    #[command(after_long_help = "Examples:
  homeward device enrol

For a device whose networks have lost its keys, or whose keys somebody else may have. Sessions go on:
from the next hop on, the other keys are used.")]
    Enrol(Ask),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum May {
    /// They may
    Yes,
    /// They may not
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// One way at a time
    Off,
    /// Every packet by both
    Mirrored,
    /// Each packet by the way by which it arrives first
    Striped,
    /// What is small and urgent by both, the rest striped
    Auto,
}

impl How {
    /// As the daemon calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Mirrored => "mirrored",
            Self::Striped => "striped",
            Self::Auto => "auto",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// From now on
    Open,
    /// No longer
    Close,
}

pub(crate) fn run(args: DeviceArgs, log: &LogArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    let Some(command) = args.command else {
        return serve(&args.config.unwrap_or_else(|| role::default_config("device")), log);
    };
    match command {
        DeviceCommand::Status(ask) => {
            ask.show(&ASKED, config, Request::new("status"), status::show)
        }
        DeviceCommand::Why(ask) => ask.show(&ASKED, config, Request::new("why"), status::why),
        DeviceCommand::On(ask) => switch(ask, config, "offload", true),
        DeviceCommand::Off(ask) => switch(ask, config, "offload", false),
        DeviceCommand::Metered { may, ask } => switch(ask, config, "metered", may == May::Yes),
        DeviceCommand::Bond { how, ask } => {
            let request = Request::new("bond").with("how", how.word());
            ask.show(&ASKED, config, request, status::bond)
        }
        DeviceCommand::Flow { what, server, flow, ask } => {
            let request = Request::new("flow").with("server", server.as_str());
            let request = request.with("flow", flow).with("open", what == What::Open);
            ask.show(&ASKED, config, request, status::flow)
        }
        DeviceCommand::Key { server, purpose, network, key, ask } => {
            let request = Request::new("key").with("server", server.as_str());
            let request = request.with("purpose", purpose).with("network", network);
            ask.show(&ASKED, config, request, |answer| key.text(answer))
        }
        DeviceCommand::Metrics(at) => role::metrics(&at.path(&ASKED, config)?),
        DeviceCommand::Enrol(ask) => {
            ask.show(&ASKED, config, Request::new("enrol"), |_| status::enrolling())
        }
        DeviceCommand::Reload(Ask { json, at }) => role::reload(&at.path(&ASKED, config)?, json),
    }
}

fn switch(ask: Ask, config: Option<&Path>, name: &str, on: bool) -> anyhow::Result<()> {
    ask.show(&ASKED, config, Request::new("switch").with(name, on), status::switches)
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    let runtime = role::small_runtime()?;
    role::serve(&runtime, |shutdown, reload| {
        homeward_device::run(config, path.to_owned(), shutdown, reload)
    })
}
