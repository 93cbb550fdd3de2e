//! The `homeward` command: one binary, one role per process.
//!
//! | module | does |
//! |---|---|
//! | [`cli`] | the command line, and which module carries out what |
//! | [`role`] | runs a role: logs, runtime, signals; asks one that runs |
//! | [`core`] | `homeward core` |
//! | [`gateway`] | `homeward gateway` |
//! | [`device`] | `homeward device` |
//! | [`security_module`] | `homeward security-module` |
//! | [`guard`] | `homeward guard` |
//! | [`admin`] | `homeward admin`: the records of the datastore |
//! | [`check`] | `homeward check-config` |
//! | [`doctor`] | `homeward doctor` |
//! | [`answer`] | what a running role answers, as text |
//! | [`output`] | what goes to standard output, and tables |
#![forbid(unsafe_code)]

#[cfg(feature = "core")]
mod admin;
mod answer;
#[cfg(any(feature = "device", feature = "guard", feature = "security-module"))]
mod asking;
mod check;
mod cli;
#[cfg(feature = "core")]
mod core;
#[cfg(feature = "device")]
mod device;
mod doctor;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "guard")]
mod guard;
#[cfg(feature = "core")]
mod homeless;
#[cfg(any(feature = "device", feature = "guard"))]
mod key;
mod output;
mod role;
#[cfg(feature = "security-module")]
mod security_module;

#[cfg(not(any(
    feature = "core",
    feature = "gateway",
    feature = "device",
    feature = "security-module",
    feature = "guard"
)))]
compile_error!("a homeward without a role does nothing: enable the feature of one, such as `core`");

fn main() -> homeward_daemon::Exit {
    cli::main()
}
