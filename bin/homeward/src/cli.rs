//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use homeward_daemon::Exit;

#[cfg(feature = "device")]
use crate::device;
#[cfg(feature = "gateway")]
use crate::gateway;
#[cfg(feature = "guard")]
use crate::guard;
use crate::role::LogArgs;
#[cfg(feature = "security-module")]
use crate::security_module;
#[cfg(feature = "core")]
use crate::{admin, core};
use crate::{check, doctor, output};

/// Your home Wi-Fi at every gateway of your operator.
#[derive(Debug, Parser)]
#[command(
    name = "homeward",
    bin_name = "homeward",
    version,
    about,
    disable_help_subcommand = true,
    after_help = "`homeward COMMAND --help` has examples."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator's core, or ask it
    #[cfg(feature = "core")]
    Core(core::CoreArgs),
    /// Run a gateway's agent, or ask it
    #[cfg(feature = "gateway")]
    Gateway(gateway::GatewayArgs),
    /// Run a device's agent: Wi-Fi credentials over cellular, and offload; or ask it
    #[cfg(feature = "device")]
    Device(device::DeviceArgs),
    /// Run a network's security module, or ask it: hand-offs prove themselves
    #[cfg(feature = "security-module")]
    SecurityModule(Box<security_module::ModuleArgs>),
    /// Run the guard of an application server, or ask it: it demands the proofs
    #[cfg(feature = "guard")]
    Guard(guard::GuardArgs),
    /// Create, show and change the records of the datastore
    #[cfg(feature = "core")]
    Admin(Box<admin::AdminArgs>),
    /// Check a configuration file
    CheckConfig(check::CheckArgs),
    /// Look for what is wrong on this machine, and say how to repair it
    Doctor(doctor::DoctorArgs),
}

/// The roles of this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The operator's core
    #[cfg(feature = "core")]
    Core,
    /// A gateway's agent
    #[cfg(feature = "gateway")]
    Gateway,
    /// A device's agent
    #[cfg(feature = "device")]
    Device,
    /// A network's security module
    #[cfg(feature = "security-module")]
    SecurityModule,
    /// The guard in front of an application server
    #[cfg(feature = "guard")]
    Guard,
}

impl Role {
    /// Its name in commands, files and sockets.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            #[cfg(feature = "core")]
            Self::Core => "core",
            #[cfg(feature = "gateway")]
            Self::Gateway => "gateway",
            #[cfg(feature = "device")]
            Self::Device => "device",
            #[cfg(feature = "security-module")]
            Self::SecurityModule => "security-module",
            #[cfg(feature = "guard")]
            Self::Guard => "guard",
        }
    }
}

/// Reads the command line and carries it out.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // That nobody reads it is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let result = match cli.command {
        #[cfg(feature = "core")]
        Command::Core(args) => core::run(args, &cli.log),
        #[cfg(feature = "gateway")]
        Command::Gateway(args) => gateway::run(args, &cli.log),
        #[cfg(feature = "device")]
        Command::Device(args) => device::run(args, &cli.log),
        #[cfg(feature = "security-module")]
        Command::SecurityModule(args) => security_module::run(*args, &cli.log),
        #[cfg(feature = "guard")]
        Command::Guard(args) => guard::run(args, &cli.log),
        #[cfg(feature = "core")]
        Command::Admin(args) => admin::run(*args, &cli.log),
        Command::CheckConfig(args) => check::run(&args),
        Command::Doctor(args) => match doctor::run(&args, &cli.log) {
            Ok(exit) => return exit,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(error) if error.chain().any(|e| e.is::<output::Closed>()) => Exit::Ok,
        Err(error) => {
            output::complain(format_args!("error: {error:#}"));
            Exit::of(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_long_help() {
        fn visit(path: &str, command: &clap::Command, without: &mut Vec<String>) {
            let example =
                command.get_after_long_help().is_some_and(|h| h.to_string().contains("homeward "));
            if !example {
                without.push(path.to_owned());
            }
            for sub in command.get_subcommands() {
                visit(&format!("{path} {}", sub.get_name()), sub, without);
            }
        }
        let mut without = Vec::new();
        for command in Cli::command().get_subcommands() {
            visit(command.get_name(), command, &mut without);
        }
        assert!(without.is_empty(), "{without:#?}");
    }
}
