//! The `homeward` command: one binary, one role per process.
//!
//! | module | does |
//! |---|---|
//! | [`cli`] | the command line, and which module carries out what |
//! | [`role`] | runs a role: logs, runtime, signals; asks one that runs |
//! | [`core`] | `homeward core` |
//! | [`gateway`] | `homeward gateway` |
//! | [`device`] | `homeward device` |
//! | [`admin`] | `homeward admin`: the records of the datastore |
//! | [`check`] | `homeward check-config` |
//! | [`doctor`] | `homeward doctor` |
//! | [`answer`] | what a running role answers, as text |
//! | [`output`] | what goes to standard output, and tables |
#![forbid(unsafe_code)]

#[cfg(feature = "core")]
mod admin;
mod answer;
mod check;
mod cli;
#[cfg(feature = "core")]
mod core;
#[cfg(feature = "device")]
mod device;
mod doctor;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "core")]
mod homeless;
mod output;
mod role;

#[cfg(not(any(feature = "core", feature = "gateway", feature = "device")))]
compile_error!(
    "a homeward without a role does nothing: enable the feature `core`, `gateway` or `device`"
);

fn main() -> homeward_daemon::Exit {
    cli::main()
}
