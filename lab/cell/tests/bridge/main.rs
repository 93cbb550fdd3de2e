//! The bridge reports what the GGSN has, as others read it: FreeRADIUS, Wireshark, and a receiver
//! that is hard of hearing.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod freeradius;
mod receiver;
mod wireshark;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_cell::network::{GATEWAY, GGSN, SERVICES};
use homeward_cell::{CellularNetwork, CellularPlan, Device, Sim};
use homeward_net::wait::{elapse, wait_for};
use homeward_net::{Lab, Namespace, lab};
use ipnet::Ipv6Net;

use freeradius::FreeRadius;
use receiver::{Receiver, Status};

const SOON: Duration = Duration::from_secs(10);
const SECRET: &str = "between packet gateway and portal";
const PORTAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(SERVICES), 1813);

async fn network(lab: &Lab) -> Result<(CellularNetwork, Namespace)> {
    let services = lab.namespace("services")?;
    let network = CellularNetwork::start(lab.folder(), &services, CellularPlan::simple()?).await?;
    Ok((network, services))
}

fn phone(n: u8) -> Result<Device> {
    Device::create(&format!("phone{n}"), format!("35693803564380{n:02}").parse()?)
}

/// What a detail file says of a session's begin and end, where FreeRADIUS knows the attributes'
/// names.
#[test]
fn freeradius_takes_the_reports_and_reads_in_them_what_was_meant() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let server = FreeRadius::start(lab.folder(), &services, SERVICES, SECRET).await?;
        let mut bridge = network.report_to(PORTAL, SECRET, &[])?;
        server.reports(1, SOON).await?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let (address, sgsn) = (ue.address(), ue.sgsn());
        server.reports(2, SOON).await?;
        ue.detach().await?;
        server.reports(3, SOON).await?;
        bridge.stop(SOON).await?;

        let [on, start, stop, off] =
            server.reports(4, SOON).await?.try_into().map_err(|_| anyhow::anyhow!("not four"))?;
        for (report, status) in
            [(&on, "Accounting-On"), (&start, "Start"), (&stop, "Stop"), (&off, "Accounting-Off")]
        {
            assert_eq!(report["Acct-Status-Type"], status);
            assert_eq!(report["NAS-IP-Address"], GATEWAY.to_string());
            assert_eq!(report["NAS-Identifier"], "\"ggsn0\"");
            assert!(report.contains_key("Event-Timestamp") && report["Acct-Delay-Time"] == "0");
        }
        for report in [&start, &stop] {
            for (attribute, value) in [
                ("Framed-IP-Address", address.to_string()),
                ("Service-Type", "Framed-User".to_owned()),
                ("Framed-Protocol", "GPRS-PDP-Context".to_owned()),
                ("Calling-Station-Id", "\"447700900001\"".to_owned()),
                ("Called-Station-Id", "\"internet\"".to_owned()),
                ("3GPP-IMSI", "\"999700000000001\"".to_owned()),
                ("3GPP-IMEISV", "\"3569380356438001\"".to_owned()),
                ("3GPP-SGSN-Address", sgsn.to_string()),
                ("3GPP-GGSN-Address", GGSN.to_string()),
                ("3GPP-IMSI-MCC-MNC", "\"99970\"".to_owned()),
                ("3GPP-GGSN-MCC-MNC", "\"99970\"".to_owned()),
                ("3GPP-NSAPI", "\"0\"".to_owned()),
                ("3GPP-PDP-Type", "0".to_owned()),
                ("3GPP-RAT-Type", "UTRAN".to_owned()),
            ] {
                assert_eq!(report.get(attribute), Some(&value), "{attribute}");
            }
        }
        assert_eq!(start["Acct-Session-Id"], stop["Acct-Session-Id"]);
        let charging: u32 = start["3GPP-Charging-ID"].parse()?;
        let id = format!("\"{:08X}{charging:08X}\"", u32::from(GATEWAY));
        assert_eq!(start["Acct-Session-Id"], id);
        assert!(stop.contains_key("Acct-Session-Time"));
        assert_eq!(stop["3GPP-Session-Stop-Indicator"], "255");
        Ok(())
    });
}

#[test]
fn freeradius_reads_the_prefix_of_a_bearer_of_ipv6() {
    lab(|lab| async move {
        let services = lab.namespace("services")?;
        let plan = CellularPlan::dual()?;
        let mut network = CellularNetwork::start(lab.folder(), &services, plan).await?;
        let server = FreeRadius::start(lab.folder(), &services, SERVICES, SECRET).await?;
        let _bridge = network.report_to(PORTAL, SECRET, &[])?;
        let internet = network.apns()[0].name.clone();
        let ue = network.attach_v6(&phone(1)?, &Sim::numbered(1)?, &internet).await?;
        let reports = server.reports(2, SOON).await?;
        let start = reports.last().context("no report")?;
        let prefix = Ipv6Net::new(ue.address(), 64)?.trunc();
        assert_eq!(start["Framed-IPv6-Prefix"], prefix.to_string());
        assert_eq!(start["3GPP-PDP-Type"], "2");
        assert_eq!(start["3GPP-IMSI"], "\"999700000000001\"");
        assert!(!start.contains_key("Framed-IP-Address"));
        Ok(())
    });
}

#[test]
fn no_report_is_malformed_as_wireshark_sees_it() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, SECRET)?;
        let on_sgi = wireshark::Trace::start(&services, "sgi0", lab.folder())?;
        let mut bridge = network.report_to(PORTAL, SECRET, &["--interim-ms", "200"])?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let address = ue.address();
        receiver.hears(Status::Interim, SOON).await?;
        ue.detach().await?;
        receiver.hears(Status::Stop, SOON).await?;
        bridge.stop(SOON).await?;

        let trace = on_sgi.finish()?;
        let all = trace.fields("radius.code == 4", &["radius.Acct_Status_Type"])?;
        let kinds: std::collections::BTreeSet<&str> =
            all.iter().map(|line| line[0].as_str()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["1", "2", "3", "7", "8"]);
        for wrong in ["_ws.malformed", "radius && _ws.expert.severity >= 6291456"] {
            let bad = trace.fields(wrong, &["frame.number", "_ws.expert.message"])?;
            assert!(bad.is_empty(), "{wrong}: {bad:?}");
        }
        let of_it = trace.fields(
            "radius.Acct_Status_Type <= 3",
            &["radius.Framed-IP-Address", "e212.imsi", "radius.3GPP_IMSI", "radius.3GPP_IMEISV"],
        )?;
        assert!(of_it.len() >= 3, "{of_it:?}");
        for fields in of_it {
            assert_eq!(fields[0], address.to_string());
            assert!(fields[1..3].iter().any(|imsi| imsi == "999700000000001"), "{fields:?}");
            assert_eq!(fields[3], "3569380356438001");
        }
        Ok(())
    });
}

/// What the bridge takes from the register is what the network was told on the wire.
#[test]
fn number_and_equipment_are_those_of_the_create_pdp_context_request() {
    lab(|lab| async move {
        let (mut network, _services) = network(&lab).await?;
        let on_gn = wireshark::Trace::start(network.ggsn(), "gn0", lab.folder())?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let trace = on_gn.finish()?;
        let fields = ["e212.imsi", "e164.msisdn", "gtp.ext_imeisv", "gtp.apn"];
        let told = trace.fields("gtp.message == 0x10", &fields)?;
        let sim = ue.sim();
        let imei = ue.device().imei;
        let expected =
            [sim.imsi.as_str(), sim.msisdn.as_str(), imei.as_str(), "internet"].map(str::to_owned);
        assert_eq!(told, [expected.to_vec()]);
        Ok(())
    });
}

#[test]
fn a_report_is_repeated_until_it_is_answered_and_then_no_more() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        // Nobody listens when the device comes and goes.
        let mut bridge = network.report_to(PORTAL, SECRET, &[])?;
        bridge.says("the GGSN is up", SOON).await?;
        let one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        bridge.says("the GGSN's contexts have changed sessions=1", SOON).await?;
        one.detach().await?;
        bridge.says("the GGSN's contexts have changed sessions=0", SOON).await?;
        // Then somebody does, but hears each report three times before it answers.
        let receiver = Receiver::start_slow(&services, PORTAL, SECRET, 3)?;
        receiver.hears(Status::Stop, Duration::from_secs(30)).await?;
        let two = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        wait_for("the second Start", Duration::from_secs(30), async || {
            let live = receiver.live();
            Ok((live.get(&two.address()) == Some(&two.sim().imsi)).then_some(()))
        })
        .await?;
        let mut order: Vec<Status> =
            receiver.heard().into_iter().map(|report| report.status).collect();
        // What is sent for longer than 3 s goes out anew, with another delay.
        order.dedup();
        assert_eq!(order, [Status::On, Status::Start, Status::Stop, Status::Start]);
        // The On and the first Start at least had to be.
        assert!(receiver.repeated() >= 4, "{}", receiver.repeated());
        Ok(())
    });
}

#[test]
fn two_devices_swap_their_sims_and_the_reports_say_so() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, SECRET)?;
        let _bridge = network.report_to(PORTAL, SECRET, &[])?;
        let (phones, sims) = ([phone(1)?, phone(2)?], [Sim::numbered(1)?, Sim::numbered(2)?]);
        let one = network.attach(&phones[0], &sims[0]).await?;
        let two = network.attach(&phones[1], &sims[1]).await?;
        receiver.live_is(&[(one.address(), sims[0]), (two.address(), sims[1])], SOON).await?;
        one.detach().await?;
        two.detach().await?;
        receiver.live_is(&[], SOON).await?;
        let one = network.attach(&phones[0], &sims[1]).await?;
        let two = network.attach(&phones[1], &sims[0]).await?;
        receiver.live_is(&[(one.address(), sims[1]), (two.address(), sims[0])], SOON).await?;
        let heard = receiver.heard();
        let last = heard.iter().rev().find(|r| r.address == Some(one.address()));
        let last = last.context("no report")?;
        assert_eq!((last.imsi, last.imei), (Some(sims[1].imsi), Some(phones[0].imei)));
        assert_eq!(last.msisdn, Some(sims[1].msisdn));
        Ok(())
    });
}

#[test]
fn a_gateway_that_restarts_says_so_and_what_it_had_is_not_reported_again() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, SECRET)?;
        let _bridge = network.report_to(PORTAL, SECRET, &[])?;
        let one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        receiver.live_is(&[(one.address(), one.sim())], SOON).await?;
        network.kill_ggsn();
        network.restart_ggsn().await?;
        receiver.live_is(&[], SOON).await?;
        let two = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        receiver.live_is(&[(two.address(), two.sim())], SOON).await?;
        let order: Vec<Status> = receiver.heard().into_iter().map(|report| report.status).collect();
        assert_eq!(order, [Status::On, Status::Start, Status::On, Status::Start]);
        // The stale device has the address that the second was given.
        assert_eq!(one.address(), two.address());
        Ok(())
    });
}

#[test]
fn what_was_not_heard_before_a_restart_is_not_repeated_behind_it() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, SECRET)?;
        let mut bridge = network.report_to(PORTAL, SECRET, &[])?;
        receiver.hears(Status::On, SOON).await?;
        receiver.set_deaf(true);
        let _one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        bridge.says("the GGSN's contexts have changed sessions=1", SOON).await?;
        network.kill_ggsn();
        network.restart_ggsn().await?;
        wait_for("the bridge to see it", SOON, async || {
            Ok((bridge.log().matches("the GGSN is up").count() == 2).then_some(()))
        })
        .await?;
        receiver.set_deaf(false);
        // Longer than any report is repeated for.
        elapse(Duration::from_secs(4)).await;
        let mut order: Vec<Status> =
            receiver.heard().into_iter().map(|report| report.status).collect();
        order.dedup();
        assert_eq!(order, [Status::On]);
        Ok(())
    });
}

#[test]
fn a_bridge_under_another_secret_is_not_believed() {
    lab(|lab| async move {
        let (network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, "another secret than the bridge's")?;
        let _bridge = network.report_to(PORTAL, SECRET, &[])?;
        wait_for("a report", SOON, async || Ok((receiver.refused() > 0).then_some(()))).await?;
        assert!(receiver.heard().is_empty());
        Ok(())
    });
}

#[test]
fn an_address_of_nobodys_is_in_no_report() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab).await?;
        let receiver = Receiver::start(&services, PORTAL, SECRET)?;
        let mut bridge = network.report_to(PORTAL, SECRET, &["--interim-ms", "100"])?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        receiver.hears(Status::Interim, SOON).await?;
        bridge.stop(SOON).await?;
        let addresses: std::collections::BTreeSet<Option<Ipv4Addr>> =
            receiver.heard().into_iter().map(|report| report.address).collect();
        assert_eq!(addresses.into_iter().collect::<Vec<_>>(), [None, Some(ue.address())]);
        assert!(receiver.live().is_empty(), "the Accounting-Off ends them all");
        Ok(())
    });
}
