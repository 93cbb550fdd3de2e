//! The lab does what it says: what it makes goes away, and a cable is as bad as it is told.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_net::tool::tool;
use homeward_net::wait::wait_for;
use homeward_net::{Cable, Impairment, Lab, Namespace, lab};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SOON: Duration = Duration::from_secs(5);

/// Two namespaces with an address each, and a cable between them:
///
/// ```text
///   left 10.0.0.1 eth0 ══════ cable ══════ eth0 10.0.0.2 right
/// ```
fn cabled(lab: &Lab, seed: u64) -> Result<(Namespace, Namespace, Cable)> {
    let [left, right] = [lab.namespace("left")?, lab.namespace("right")?];
    let cable = Cable::lay(&left, "eth0", &right, "eth0", seed)?;
    for (end, address) in [(&left, LEFT), (&right, RIGHT)] {
        // No IPv6: what the kernel announces by itself would be counted too.
        end.sysctl("net.ipv6.conf.eth0.disable_ipv6", "1")?;
        end.ip(&format!("addr add {address}/24 dev eth0"))?;
    }
    Ok((left, right, cable))
}

#[test]
fn namespaces_joined_by_a_cable_reach_each_other() {
    lab(|lab| async move {
        let (left, _right, cable) = cabled(&lab, 1)?;
        left.ping(RIGHT, SOON).await?;
        assert!(cable.forth().counters().delivered >= 2, "an ARP request and a ping");
        assert!(cable.back().counters().delivered >= 2, "and their answers");
        Ok(())
    });
}

#[test]
fn a_cable_delays_as_long_as_it_is_told_and_changes_while_it_runs() {
    lab(|lab| async move {
        let (left, _right, cable) = cabled(&lab, 1)?;
        left.ping(RIGHT, SOON).await?;
        cable.set(Impairment::delayed(Duration::from_millis(20)));
        let slow = left.ping(RIGHT, SOON).await?;
        assert!(slow >= Duration::from_millis(40), "{slow:?}");
        assert!(slow < Duration::from_millis(80), "{slow:?}");
        cable.set(Impairment::NONE);
        let quick = left.ping(RIGHT, SOON).await?;
        assert!(quick < Duration::from_millis(20), "{quick:?}");
        Ok(())
    });
}

#[test]
fn what_is_dropped_is_gone_with_its_interfaces_and_programs() {
    lab(|lab| async move {
        let outer = lab.namespace("outer")?;
        let inner = lab.namespace("inner")?;
        outer.join("out", &inner, "in")?;
        // Not in a handle that kills it: it must go with the namespace.
        let mut sleep = tool("sleep");
        sleep.arg("1000").stdout(Stdio::null());
        let mut child = inner.spawn(sleep)?;
        drop(inner);
        wait_for("the program's end", SOON, async || Ok(child.try_wait()?)).await?;
        wait_for("the cable's end", SOON, async || {
            Ok((!outer.run_tool("ip", &["-brief", "link"])?.contains("out@")).then_some(()))
        })
        .await
    });
}

/// What the child of the two tests below leaves behind: a namespace and a program in it.
fn leave_a_mess(lab: &Lab) -> Result<(Namespace, Namespace, Cable, homeward_net::Process)> {
    let (left, right, cable) = cabled(lab, 1)?;
    let mut process = lab.process("sleep", &right, &["sleep", "1000"])?;
    let pid = process.pid().context("it runs")?;
    assert!(process.is_running());
    println!("\nMESS {}", namespace_of(pid)?.display());
    Ok((left, right, cable, process))
}

/// The kernel's name for a process's network namespace.
fn namespace_of(pid: u32) -> Result<PathBuf> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/net"))?)
}

/// Whether any process of the machine is in that namespace.
fn is_inhabited(namespace: &Path) -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == namespace)
    })
}

const MESSY: &str = "HOMEWARD_TEST_MESSY";

/// Runs the test `name` of this binary in a process that makes a mess and then ends as `end` has
/// it end, and waits until nothing of it is left.
fn ends_clean(name: &str, end: fn(&mut std::process::Child)) {
    lab(|_lab| async move {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", name, "--nocapture"])
            .env(MESSY, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let told = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("MESS "))
            .context("the child says nothing")?;
        let mut words = told.split_whitespace().skip(1);
        let namespace = PathBuf::from(words.next().context("the namespace")?);
        assert!(is_inhabited(&namespace), "{told}");
        end(&mut child);
        child.wait()?;
        wait_for("all to be gone", SOON, async || Ok((!is_inhabited(&namespace)).then_some(())))
            .await
    });
}

#[test]
fn nothing_is_left_of_a_test_that_panics() {
    if std::env::var_os(MESSY).is_some() {
        lab(|lab| async move {
            let _mess = leave_a_mess(&lab)?;
            panic!("as planned");
        });
    }
    ends_clean("nothing_is_left_of_a_test_that_panics", |_| {});
}

#[test]
fn nothing_is_left_of_a_test_that_is_killed() {
    if std::env::var_os(MESSY).is_some() {
        lab(|lab| async move {
            let _mess = leave_a_mess(&lab)?;
            std::future::pending().await
        });
    }
    ends_clean("nothing_is_left_of_a_test_that_is_killed", |child| child.kill().unwrap());
}
