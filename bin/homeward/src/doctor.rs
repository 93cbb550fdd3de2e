//! `homeward doctor`: what is wrong on this machine, and the repair.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use homeward_daemon::doctor::{Finding, Findings, Severity};
use homeward_daemon::{Exit, ExitContext};
use serde::Serialize;

use crate::cli::Role;
use crate::output;
use crate::role::{LogArgs, default_config};

#[cfg(feature = "core")]
mod core;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward doctor                               every role whose configuration is in /etc/homeward
  homeward doctor gateway
  homeward doctor core --config core.toml --json

Run it as the user that runs the role, or as root. Exit status 1 if something fails; a warning is
no failure.")]
pub(crate) struct DoctorArgs {
    /// Which role [default: every one that is configured]
    role: Option<Role>,
    /// Its configuration file [default: /etc/homeward/ROLE.toml]
    #[arg(long, value_name = "FILE", requires = "role")]
    config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was found about one thing of a role's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    role: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    findings: Vec<Found>,
}

pub(crate) fn run(args: &DoctorArgs, log: &LogArgs) -> anyhow::Result<Exit> {
    log.begin_quietly()?;
    let mut findings = Vec::new();
    for (role, path) in patients(args)? {
        findings.extend(examine(role, &path)?);
    }
    let ok = findings.iter().all(|f| f.finding.severity != Severity::Fail);
    if args.json {
        output::json(&Report { ok, findings })?;
    } else {
        output::text(&show(&findings))?;
    }
    Ok(if ok { Exit::Ok } else { Exit::Failure })
}

/// The roles to look at, each with its configuration.
fn patients(args: &DoctorArgs) -> anyhow::Result<Vec<(Role, PathBuf)>> {
    if let Some(role) = args.role {
        let path = args.config.clone().unwrap_or_else(|| default_config(role.as_str()));
        return Ok(vec![(role, path)]);
    }
    let all = <Role as clap::ValueEnum>::value_variants().iter();
    let all = all.map(|role| (*role, default_config(role.as_str())));
    let found: Vec<_> = all.filter(|(_, path)| path.exists()).collect();
    if found.is_empty() {
        return Err(anyhow!(
            "no role is configured in /etc/homeward: name one and its file, such as `homeward doctor gateway --config gateway.toml`"
        ))
        .exit(Exit::NoInput);
    }
    Ok(found)
}

fn examine(role: Role, path: &Path) -> anyhow::Result<Vec<Found>> {
    let mut findings = Findings::default();
    let looked =
        match role {
            #[cfg(feature = "core")]
            Role::Core => match crate::core::Config::load(path) {
                Ok(config) => Ok(core::examine(&config)?),
                Err(error) => Err(error),
            },
            #[cfg(feature = "gateway")]
            Role::Gateway => match homeward_gateway::Config::load(path) {
                Ok(config) => Ok(crate::role::small_runtime()?
                    .block_on(homeward_gateway::doctor::examine(&config))),
                Err(error) => Err(error),
            },
            #[cfg(feature = "device")]
            Role::Device => match homeward_device::Config::load(path) {
                Ok(config) => Ok(crate::role::small_runtime()?
                    .block_on(homeward_device::doctor::examine(&config))),
                Err(error) => Err(error),
            },
            #[cfg(feature = "security-module")]
            Role::SecurityModule => match homeward_security_module::Config::load(path) {
                Ok(config) => Ok(crate::role::small_runtime()?.block_on(
                    homeward_security_module::doctor(&config.handoff, config.epdg.as_ref()),
                )),
                Err(error) => Err(error),
            },
            #[cfg(feature = "guard")]
            Role::Guard => match homeward_guard::Config::load(path) {
                Ok(config) => {
                    Ok(crate::role::small_runtime()?.block_on(homeward_guard::doctor(&config)))
                }
                Err(error) => Err(error),
            },
        };
    let further = match looked {
        Ok(further) => {
            findings.ok(format!("the configuration {} is sound", path.display()));
            further
        }
        Err(error) => {
            findings.fail(format!("{:#}", anyhow::Error::new(error)), "correct the file");
            Vec::new()
        }
    };
    let all = findings.into_vec().into_iter().chain(further);
    Ok(all.map(|finding| Found { role: role.as_str(), finding }).collect())
}

/// One line a finding, its repair below it.
fn show(findings: &[Found]) -> String {
    let mut text = String::new();
    for Found { role, finding } in findings {
        let mark = match finding.severity {
            Severity::Ok => "ok  ",
            Severity::Warn => "warn",
            Severity::Fail => "FAIL",
        };
        text.push_str(&format!("{mark}  {role:<7}  {}\n", finding.what));
        if let Some(repair) = &finding.repair {
            text.push_str(&format!("{:15}-> {repair}\n", ""));
        }
    }
    let count = |severity| findings.iter().filter(|f| f.finding.severity == severity).count();
    let (warnings, failures) = (count(Severity::Warn), count(Severity::Fail));
    text.push_str(&match (failures, warnings) {
        (0, 0) => "all is well\n".to_owned(),
        _ => format!("{failures} failed, {warnings} to look at\n"),
    });
    text
}
