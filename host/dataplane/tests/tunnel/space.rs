//! Network namespaces for a test. The test's body runs in a process of its own, in a namespace
//! that is new and empty; further namespaces belong to a thread each, and go with it.

use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

/// Runs a test's body in a new network namespace: the process is this same test binary, asked for
/// the one test `name` of `module` (`module_path!()`).
pub(crate) fn in_namespace(module: &str, name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // The harness leaves the binary's own name out.
    let name = match module.split_once("::") {
        Some((_, module)) => format!("{module}::{name}"),
        None => name.to_owned(),
    };
    let user: &[&str] =
        if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .arg(std::env::current_exe().expect("a test binary"))
        .args([name.as_str(), "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that matches no test would pass, too.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace.
pub(crate) struct Space {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The thread whose namespace it is.
    tid: i32,
}

impl Space {
    /// A new one, with its loopback up.
    pub(crate) fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            tell.send(nix::unistd::gettid().as_raw()).expect("somebody asked");
            for job in queue {
                job();
            }
        });
        let space =
            Self { jobs: Some(jobs), thread: Some(thread), tid: told.recv().expect("it began") };
        space.ip("link set lo up");
        space
    }

    /// Runs something in it, and waits for what comes out.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = Box::new(move || {
            let _ = tell.send(job());
        });
        self.jobs.as_ref().expect("it runs").send(job).expect("it runs");
        told.recv().expect("the job did not panic")
    }

    /// `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        self.program(&format!("ip {words}"));
    }

    /// A program with its arguments, which must succeed; gives what it printed.
    pub(crate) fn program(&self, words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        self.run(move || {
            let output =
                Command::new(&words[0]).args(&words[1..]).output().expect("it is installed");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words:?}: {said}{error}");
            said
        })
    }

    /// Joins two namespaces by a cable: `out` here, `out` there.
    pub(crate) fn join(&self, other: &Self, here: &str, there: &str) {
        // A thread's namespace is named by the thread's number.
        self.ip(&format!("link add {here} type veth peer name {there} netns {}", other.tid));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
    }

    /// Sets the loopback up of the namespace that the test begins in.
    pub(crate) fn loopback() {
        let done = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(done.expect("iproute2 is installed").success());
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("a job panicked");
        }
    }
}
