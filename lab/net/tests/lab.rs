//! The lab does what it says: what it makes goes away, and a cable is as bad as it is told.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_net::tool::tool;
use homeward_net::town::CORE;
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{
    Cable, Capture, Download, Impairment, Lab, Namespace, Printer, SitePlan, Town, dhcp, lab,
    printer, sweep,
};

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
fn a_frame_that_the_far_end_does_not_take_holds_up_no_other() {
    lab(|lab| async move {
        let (left, right, _cable) = cabled(&lab, 1)?;
        right.ip("link set eth0 mtu 1400")?;
        let long = ["-M", "do", "-s", "1472", "-c", "3", "-i", "0.01", "-W", "1", "10.0.0.2"];
        assert!(left.run_tool("ping", &long).is_err());
        left.ping(Ipv4Addr::new(10, 0, 0, 2), SOON).await?;
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

#[test]
fn a_cable_loses_and_doubles_the_share_it_is_told_and_the_same_frames_for_the_same_seed() {
    lab(|lab| async move {
        let mut runs = Vec::new();
        for round in 0..2 {
            let (left, right, cable) = cabled(&lab, 42)?;
            // What the two say to each other before is not the same each time.
            for _ in 0..=round {
                left.ping(RIGHT, SOON).await?;
            }
            let before = cable.forth().counters();
            let ear = Capture::start(&right, "eth0")?;
            cable.forth().set(Impairment {
                loss: 0.1,
                duplicate: 0.05,
                reorder: 0.05,
                held_back: Duration::from_millis(1),
                ..Impairment::NONE
            });
            let numbers: Vec<u16> = (0..2000).collect();
            let sent = numbers.clone();
            left.enter(move || {
                let socket = UdpSocket::bind((LEFT, 0))?;
                for number in sent {
                    socket.send_to(&number.to_be_bytes(), (RIGHT, 9))?;
                }
                Ok(())
            })?;
            wait_for("all to have passed", SOON, async || {
                let c = cable.forth().counters();
                let all = c.entered - before.entered == 2000 && cable.forth().under_way() == 0;
                Ok(all.then_some(()))
            })
            .await?;
            let c = cable.forth().counters();
            assert!((150..250).contains(&c.lost), "{round}: {c:?}");
            assert!((60..140).contains(&c.duplicated), "{round}: {c:?}");
            assert!((60..140).contains(&c.reordered), "{round}: {c:?}");
            let expected = 2000 - c.lost + c.duplicated;
            wait_for("all to be heard", SOON, async || {
                let count = ear.count(|a| a.ether_type() == Some(0x0800) && a.octets.len() == 44);
                Ok((count as u64 == expected).then_some(()))
            })
            .await?;
            let arrived: BTreeSet<u16> = ear
                .arrivals()
                .iter()
                .filter(|a| a.octets.len() == 44)
                .filter_map(|a| Some(u16::from_be_bytes(a.octets.get(42..44)?.try_into().ok()?)))
                .collect();
            assert_eq!(arrived.len() as u64, 2000 - c.lost);
            assert_eq!(cable.forth().overruns()?, 0);
            runs.push(arrived);
        }
        assert_eq!(runs[0], runs[1], "not the same losses");
        Ok(())
    });
}

#[test]
fn a_rate_holds_a_download_to_it_and_a_download_that_stands_still_says_how_long() {
    lab(|lab| async move {
        let (left, right, cable) = cabled(&lab, 1)?;
        let megabit = 1_000_000;
        cable.set(Impairment { rate: Some(40 * megabit), ..Impairment::NONE });
        let download = Download::start(&left, &right, LEFT, 8080).await?;
        wait_for("two megabytes", SOON, async || Ok((download.total() > 2_000_000).then_some(())))
            .await?;
        let begin = now();
        let before = download.total();
        wait_for("five more", SOON, async || {
            Ok((download.total() > before + 5_000_000).then_some(()))
        })
        .await?;
        let rate = (download.total() - before) as f64 * 8.0 / (now() - begin).as_secs_f64();
        // Headers take 4 %; the rest is the machine's.
        assert!(rate < 40e6, "{rate}");
        assert!(rate > 20e6, "{rate}");

        let (cut, total) = (now(), download.total());
        cable.set(Impairment::lossy(1.0));
        elapse(Duration::from_millis(300)).await;
        cable.set(Impairment::NONE);
        wait_for("it to go on", SOON, async || {
            Ok((download.total() > total + 2_000_000).then_some(()))
        })
        .await?;
        let silence = download.silence(cut, now());
        assert!(silence > Duration::from_millis(250), "{silence:?}");
        assert_eq!(download.end(), None);
        Ok(())
    });
}

#[test]
fn a_town_gives_addresses_and_reaches_across_the_internet() {
    lab(|lab| async move {
        let plan = SitePlan { ipv6: true, ..SitePlan::default() };
        let town =
            Town::build(&lab, plan, SitePlan { nat: true, ..SitePlan::default() }, 1).await?;
        let tv = town.home.host("tv").await?;
        assert_eq!(tv.lease.router, Ipv4Addr::new(192, 168, 1, 1));
        assert_eq!(tv.lease.server, tv.lease.router);
        assert!(town.home.dhcp.leases().contains(&tv.lease.address.to_string()));
        let pc = town.foreign.host("pc").await?;
        pc.namespace.ping(CORE, SOON).await.context("out through two translations")?;
        tv.namespace.ping(CORE, SOON).await?;
        pc.namespace.ping(town.home.address(), SOON).await?;
        // The box lets nobody in.
        assert_eq!(town.foreign.address(), Ipv4Addr::new(10, 0, 2, 2));
        let nobody =
            town.home.gateway.ping(town.foreign.gateway_address(), Duration::from_millis(300));
        assert!(nobody.await.is_err(), "reached the gateway behind the box");

        let folder = lab.folder();
        let (address, _client) =
            dhcp::lease6(folder, folder, "tv", &tv.namespace, "eth0", SOON).await?;
        assert_eq!(address.segments()[..4], [0xfd00, 1, 0, 0]);
        wait_for("a stateless address", SOON, async || {
            let all = tv.namespace.run_tool("ip", &["-6", "-oneline", "addr", "show", "eth0"])?;
            let stateless = all.lines().any(|l| l.contains("fd00:1::") && l.contains("dynamic"));
            Ok(stateless.then_some(()))
        })
        .await?;

        let new = town.home.renumber(77)?;
        pc.namespace.ping(new, SOON).await?;
        Ok(())
    });
}

#[test]
fn a_sweep_finds_those_who_are_there_and_a_printer_is_found_by_name() {
    lab(|lab| async move {
        let town = Town::build(&lab, SitePlan::default(), SitePlan::default(), 1).await?;
        let [tv, printer] = [town.home.host("tv").await?, town.home.host("printer").await?];
        let there = printer.lease.address;
        let page = Printer::start("printer", &printer.namespace, there)?;
        let _avahi = printer::announce(lab.folder(), "printer", &printer.namespace, "eth0").await?;

        let found = sweep(&tv.namespace, "eth0", there, &[80], Duration::from_millis(700)).await?;
        let both = BTreeSet::from([town.home.lan_address(), there]);
        assert_eq!(found.arp.iter().map(|(a, _)| *a).collect::<BTreeSet<_>>(), both);
        assert_eq!(found.ping, both);
        assert_eq!(found.tcp.iter().map(|s| *s.ip()).collect::<BTreeSet<_>>(), both);
        assert_eq!(found.addresses(), both);

        assert_eq!(printer::get(&tv.namespace, there, SOON).await?, page.page());
        assert!(page.visitors().contains(&tv.lease.address.into()));
        let names = printer::browse(&tv.namespace, tv.lease.address, SOON).await?;
        assert_eq!(names, BTreeSet::from(["printer".to_owned()]));

        // Another LAN sees none of it.
        let pc = town.foreign.host("pc").await?;
        let quick = Duration::from_millis(500);
        let found = sweep(&pc.namespace, "eth0", there, &[80], quick).await?;
        assert!(found.is_empty(), "{found:?}");
        assert!(printer::get(&pc.namespace, there, quick).await.is_err());
        let names = printer::browse(&pc.namespace, pc.lease.address, quick).await?;
        assert!(names.is_empty(), "{names:?}");
        Ok(())
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
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == namespace))
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
