//! For tests that need a kernel and privileges: a network namespace for each.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::config::Config;

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

/// Runs a test's body in a process of its own, whose network namespace is new and empty. The
/// process is this same test binary, asked for the one test `name`, module and all. Needs
/// `unshare` of util-linux; as another user than root also user namespaces.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
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

/// `ip` with these words.
pub(crate) fn ip(words: &str) {
    tool(&format!("ip {words}"));
}

/// A command line that must succeed; what it printed.
pub(crate) fn tool(words: &str) -> String {
    let mut all = words.split(' ');
    let program = all.next().unwrap();
    let done = Command::new(program).args(all).output().expect("the program is installed");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{words}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// A gateway's configuration: the least there can be, and `more`.
pub(crate) fn config(more: &str) -> Config {
    let least = "name = \"gw-17\"\n[radio]\nhostapd = \"/nowhere/hostapd\"\n\
                 interface = \"nosuch0\"\n[[core]]\naddress = \"127.0.0.1:9\"\n\
                 secret = { env = \"NOSUCH\" }\n";
    let path = std::path::Path::new("gateway.toml");
    homeward_daemon::config::parse(path, &format!("{least}{more}"), Config::check).unwrap()
}

/// A setting under /proc/sys/net.
pub(crate) fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

/// Does what needs a runtime.
pub(crate) fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}
