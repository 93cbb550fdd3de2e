//! The ledger's disk, seen and made to fail by strace between the core and the kernel.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::core::{Core, SECRET};

const START: &str =
    "Acct-Status-Type = Start, Acct-Session-Id = \"5F\", NAS-Identifier = \"oak\"\n";

/// strace on a running core; it is let go of when this is dropped.
struct Strace(Child);

impl Strace {
    /// Attaches it; calls to `file` from then on.
    fn attach(core: &Core, calls: &str, words: &[&str], file: &str) -> Self {
        let pid = core.pid().to_string();
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-p", &pid, "-o", file, "-e"])
            .arg(format!("trace={calls}"))
            .args(words)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is missing: `make setup` installs it");
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("attached")), "strace did not attach");
        // Keep reading, or it would end when it has more to say.
        std::thread::spawn(move || said.for_each(|line| eprintln!("{line}")));
        Self(strace)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Asked to end, it lets go; killed, it would leave what it traces stopped.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_record_whose_sync_fails_is_not_answered_and_the_ledger_goes_on_when_the_disk_does() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let inject = ["-e", "inject=fsync,fdatasync:error=EIO"];
    let broken = Strace::attach(&core, "fsync,fdatasync", &inject, &core.file("calls"));
    let answer = core.radclient("acct", START, SECRET);
    assert!(answer.contains("No reply"), "{answer}");
    let answer = core.pap(phone.name, &phone.password, "");
    assert!(answer.contains("Received Access-Accept"), "log-ins go on: {answer}");
    let metrics = core.status("metrics");
    for said in ["ledger_total{event=\"failed_io\"}", "ledger_total{event=\"unacknowledged\"}"] {
        assert!(metrics.contains(&format!("{said} 1\n")), "{said}: {metrics}");
    }
    drop(broken);
    core.soon("Received Accounting-Response", || core.radclient("acct", START, SECRET));
    let open = core.admin(&["session", "list", "--json"]);
    let open: Vec<serde_json::Value> = serde_json::from_str(&open).unwrap();
    assert_eq!(open.len(), 1, "kept once, however often it was sent");
}

#[test]
fn an_answer_leaves_after_its_record_is_on_the_disk() {
    let core = Core::start();
    let file = core.file("calls");
    let watching = Strace::attach(&core, "fsync,fdatasync,recvmmsg,sendmmsg", &[], &file);
    let answer = core.radclient("acct", START, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    drop(watching);
    let calls = std::fs::read_to_string(&file).unwrap();
    let came = calls.lines().position(|l| l.contains("recvmmsg") && l.ends_with("= 1"));
    let went = calls.lines().position(|l| l.contains("sendmmsg(")).expect("an answer was sent");
    let between = calls.lines().take(went).skip(came.expect("a request came"));
    let of_ledger = |l: &&str| l.contains("sync(") && l.contains("ledger.db");
    let synced = between.filter(|l| of_ledger(l) && l.ends_with("= 0")).count();
    assert!(synced >= 1, "{calls}");
}
