//! The real ModemManager, on a bus of the test's own, with a modem that answers AT commands as a
//! script has it.
//!
//! ```text
//!   [test: Modem, polkit] ── dbus-daemon ── [ModemManager] ── abstract socket ── [test: AtModem]
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod at;
mod bus;
mod machine;
mod pdu;

use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::Imei;
use homeward_modem::{
    Bus, Facts, Managed, Message, Modem, News, Registration, Sim, SmsError, Technology,
};
use homeward_net::lab;
use homeward_net::wait::wait_for;
use tokio::time::timeout;

use at::{AtModem, IMEI, IMSI};
use bus::Polkit;
use machine::Machine;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

const PORTAL: &str = "447700900999";

/// Watches the modem of that machine.
fn watch(machine: &Machine) -> Result<Modem> {
    Ok(Modem::managed(Managed {
        bus: bus(machine),
        messages_from: vec![PORTAL.parse()?],
        signal_every: 1,
        retry: Duration::from_millis(100),
        ..Managed::default()
    })?)
}

fn bus(machine: &Machine) -> Bus {
    Bus::Address(machine.bus.address())
}

/// Waits until what is known is so.
async fn until(modem: &Modem, what: &str, is_so: impl FnMut(&Facts) -> bool) -> Result<Facts> {
    let mut facts = modem.watch();
    let found = timeout(LIMIT, facts.wait_for(is_so)).await;
    let found = found.with_context(|| format!("not {what}: {:?}", modem.facts()))?;
    Ok(found?.clone())
}

async fn message(modem: &mut Modem) -> Result<Message> {
    loop {
        match timeout(LIMIT, modem.next()).await.context("no message came")? {
            News::Message(message) => return Ok(message),
            News::Facts(_) => {}
        }
    }
}

/// A modem that is registered.
async fn registered(machine: &Machine, modem: &Modem) -> Result<Facts> {
    until(modem, "ready", |facts| facts.modem.as_ref().is_some_and(|m| m.imsi.is_some())).await?;
    machine.enable().await?;
    until(modem, "at home", |facts| {
        facts.modem.as_ref().is_some_and(|m| m.registration == Registration::Home)
    })
    .await
}

#[test]
fn what_a_modem_says_is_known_as_it_changes() {
    lab(|lab| async move {
        let machine = Machine::build(&lab, lab.namespace("machine")?).await?;
        let modem = watch(&machine)?;
        assert_eq!(modem.facts(), Facts::default());
        let _manager = machine.manager(&lab).await?;
        let facts = until(&modem, "there", |facts| facts.manager).await?;
        assert_eq!(facts.modem, None);
        let script = AtModem::start(&machine.place, "homeward-at-facts")?;
        machine.plug(&script).await?;
        let facts = registered(&machine, &modem).await?.modem.context("no modem")?;
        assert_eq!(facts.imsi, Some(IMSI.parse()?));
        assert_eq!(facts.imei, Some(IMEI.parse()?));
        assert_eq!(facts.number, Some("447700900123".parse()?));
        assert_eq!((facts.sim, facts.bearer, facts.messages), (Sim::Ready, None, true));
        let facts = until(&modem, "measured", |facts| {
            facts.modem.as_ref().is_some_and(|m| {
                m.signal.dbm.is_some() && m.operator.is_some() && m.signal.percent != Some(0)
            })
        })
        .await?;
        let facts = facts.modem.context("no modem")?;
        // 20 of 31, and the RSRP that the script gives.
        assert_eq!((facts.signal.percent, facts.signal.dbm), (Some(64), Some(-81)));
        assert_eq!((facts.technology, facts.operator), (Technology::Lte, Some("99970".to_owned())));
        // 6 and 7 are for messages alone (3GPP TS 27.007 7.2).
        for (number, how, messages) in [
            (5, Registration::Roaming, true),
            (3, Registration::Denied, false),
            (6, Registration::Idle, true),
            (1, Registration::Home, true),
            (7, Registration::Idle, true),
            (2, Registration::Searching, false),
        ] {
            script.register(number);
            let told = |facts: &Facts| {
                facts
                    .modem
                    .as_ref()
                    .is_some_and(|m| (m.registration, m.messages) == (how, messages))
            };
            until(&modem, &format!("{how:?}, messages: {messages}"), told).await?;
        }
        Ok(())
    });
}

#[test]
fn a_modem_that_is_not_the_one_meant_is_none() {
    lab(|lab| async move {
        let machine = Machine::build(&lab, lab.namespace("machine")?).await?;
        let _manager = machine.manager(&lab).await?;
        let script = AtModem::start(&machine.place, "homeward-at-other")?;
        machine.plug(&script).await?;
        let with = |imei: &str| -> Result<Modem> {
            let imei: Option<Imei> = Some(imei.parse()?);
            Ok(Modem::managed(Managed { bus: bus(&machine), imei, ..Managed::default() })?)
        };
        // The check digit names no equipment.
        let (meant, other) = (with("35693803564380")?, with("356938035643817")?);
        until(&meant, "there", |facts| facts.modem.as_ref().is_some_and(|m| m.imsi.is_some()))
            .await?;
        let facts = until(&other, "there", |facts| facts.manager).await?;
        assert_eq!(facts.modem, None);
        Ok(())
    });
}

#[test]
fn a_manager_and_a_bus_that_come_and_go_are_facts() {
    lab(|lab| async move {
        let mut machine = Machine::build(&lab, lab.namespace("machine")?).await?;
        let modem = watch(&machine)?;
        let script = AtModem::start(&machine.place, "homeward-at-restart")?;
        let has_modem = |facts: &Facts| facts.modem.as_ref().is_some_and(|m| m.imsi.is_some());
        for _ in 0..2 {
            let mut manager = machine.manager(&lab).await?;
            until(&modem, "there", |facts| facts.manager).await?;
            machine.plug(&script).await?;
            until(&modem, "there", has_modem).await?;
            manager.kill();
            until(&modem, "gone", |facts| *facts == Facts::default()).await?;
        }
        machine.bus.restart().await?;
        machine.polkit = Polkit::start(&machine.bus).await?;
        let _manager = machine.manager(&lab).await?;
        until(&modem, "there", |facts| facts.manager).await?;
        machine.plug(&script).await?;
        until(&modem, "there again", has_modem).await?;
        Ok(())
    });
}

#[test]
fn messages_go_out_and_come_in_whole() {
    lab(|lab| async move {
        let machine = Machine::build(&lab, lab.namespace("machine")?).await?;
        let mut modem = watch(&machine)?;
        let portal = PORTAL.parse()?;
        assert_eq!(modem.sender().send(&portal, "x").await, Err(SmsError::NoModem));
        let _manager = machine.manager(&lab).await?;
        let script = AtModem::start(&machine.place, "homeward-at-sms")?;
        // One waits since before; another is its owner's business.
        let waiting = "HW1 u7_x@example.net";
        script.with(|state| {
            state.stored.insert(1, pdu::text(PORTAL, waiting));
            state.stored.insert(2, pdu::text("447700900111", "see you at 8"));
        });
        machine.plug(&script).await?;
        registered(&machine, &modem).await?;
        assert_eq!(message(&mut modem).await?.text.as_str(), waiting);
        // ModemManager loses a message of which it is told while it works on another.
        let has = async |count: usize| {
            wait_for(&format!("{count} messages"), LIMIT, async || {
                Ok((machine.messages().await? == count).then_some(()))
            })
            .await
        };
        has(1).await?;
        // In two parts, the second first.
        script.deliver(4, &pdu::part(PORTAL, "and the rest: \u{20ac}", 2, 2));
        has(2).await?;
        script.deliver(3, &pdu::part(PORTAL, "a password ", 1, 2));
        let whole = message(&mut modem).await?;
        assert_eq!(whole.text.as_str(), "a password and the rest: \u{20ac}");
        assert_eq!(whole.from.trim_start_matches('+'), PORTAL);
        // Short, with what the alphabet of GSM has elsewhere; and longer than one message.
        let long = "u7_x@example.net;".repeat(20);
        for text in ["HW1? u7_x@example.net $", long.as_str()] {
            script.with(|state| state.sent.clear());
            modem.sender().send(&portal, text).await?;
            let sent = script.with(|state| state.sent.clone());
            let read: Vec<_> = sent.iter().map(|pdu| pdu::read(pdu)).collect();
            assert!(read.iter().all(|(to, _)| to == PORTAL), "{read:?}");
            assert_eq!(read.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
        }
        script.with(|state| state.sends = false);
        let refused = modem.sender().send(&portal, "x").await;
        assert!(matches!(refused, Err(SmsError::Refused(_))), "{refused:?}");
        machine.polkit.allow(false);
        let denied = modem.sender().send(&portal, "x").await;
        assert!(matches!(denied, Err(SmsError::Refused(_))), "{denied:?}");
        // Ours are off the modem, the owner's is where it was.
        let left: Vec<_> = script.with(|state| state.stored.keys().copied().collect());
        assert_eq!(left, [2]);
        Ok(())
    });
}

#[test]
fn the_text_of_a_part_begins_at_a_septet_behind_its_header() {
    let part = pdu::segment(PORTAL, "hi", &[0, 3, 0x5b, 2, 1]);
    // Nine septets, of which the header fills seven; "hi" is 0x68, 0x69.
    assert!(part.ends_with("090500035B0201D069"), "{part}");
}
