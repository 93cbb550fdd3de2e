//! The `homeward` command: one binary, one role per process.
//!
//! | module | does |
//! |---|---|
//! | [`cli`] | the command line, and which module carries out what |
//! | [`role`] | runs a role: logs, runtime, signals; asks one that runs |
//! | [`core`] | `homeward core` |
//! | [`gateway`] | `homeward gateway` |
//! | [`admin`] | `homeward admin`: the records of the datastore |
//! | [`check`] | `homeward check-config` |
//! | [`doctor`] | `homeward doctor` |
//! | [`output`] | what goes to standard output, and tables |
#![forbid(unsafe_code)]

#[cfg(feature = "core")]
mod admin;
mod check;
mod cli;
#[cfg(feature = "core")]
mod core;
mod doctor;
#[cfg(feature = "gateway")]
mod gateway;
mod output;
mod role;

#[cfg(not(any(feature = "core", feature = "gateway")))]
compile_error!("a homeward without a role does nothing: enable the feature `core` or `gateway`");

fn main() -> homeward_daemon::Exit {
    cli::main()
}
