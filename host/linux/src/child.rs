//! Programs that do not outlive who started them (prctl(2), `PR_SET_PDEATHSIG`).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

/// Has the program killed when the thread that spawns it ends, be it by the end of the process.
///
/// Its own children are not. A program that changes its user loses this.
pub fn ends_with_thread(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing; what
    // it captures is a number.
    unsafe { command.pre_exec(move || tie(parent)) };
}

fn tie(parent: Pid) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // Had the parent died before, no signal would come.
    if getppid() == parent { Ok(()) } else { Err(nix::Error::ESRCH.into()) }
}
