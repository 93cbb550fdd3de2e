//! A crowd that moves at once.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use homeward_linux::bridge::Bridges;
use homeward_linux::{Frame, FrameSocket, Links};
use homeward_model::{Instant, Mac};
use homeward_net::namespace::mac_of;
use homeward_net::sweep::arp_request;
use homeward_net::wait::{now, wait_for};
use homeward_net::{Capture, lab};
use homeward_port::{Device, Settings as PortSettings};

use crate::world::{Plan, SOON, TUNNEL, World};

/// How many devices.
const CROWD: u8 = 100;

fn device(number: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0xcc, number])
}

#[test]
fn a_hundred_devices_that_move_at_once_are_all_at_home_abroad_and_all_at_home_again() {
    lab(|lab| async move {
        let world = World::at_home(&lab, Plan::sealed(true)).await?;
        let tv = world.town.home.host("tv").await?;
        let tvs = mac_of(&tv.namespace, "eth0")?;
        let devices: Vec<Mac> = (0..CROWD).map(device).collect();
        for end in [&world.home, &world.foreign] {
            let devices = devices.iter().copied().map(Device::new).collect();
            end.plane.set_port(TUNNEL, PortSettings { devices, ..PortSettings::default() })?;
        }
        // Each asks for the TV in its own name: what a device does that has just joined.
        let address = |number: u8| {
            let own = Ipv4Addr::new(192, 168, 1, 100 + number);
            if own == tv.lease.address { Ipv4Addr::new(192, 168, 1, 40) } else { own }
        };
        let questions: Vec<Vec<u8>> =
            (0..CROWD).map(|n| arp_request(device(n), address(n), tv.lease.address)).collect();

        for abroad in [true, false] {
            let moved = now();
            if abroad {
                world.move_abroad().await?;
            } else {
                world.move_home().await?;
            }
            let ear = Capture::start(&world.roamer, "eth0")?;
            world.home.up().await?;
            let socket = world.roamer.enter(|| Ok(FrameSocket::open("eth0", 1 << 20)?))?;
            let mut asked = None::<Instant>;
            wait_for("an answer to every device", SOON, async || {
                let answered: BTreeSet<Mac> = ear
                    .arrivals()
                    .iter()
                    .filter(|f| f.source() == Some(tvs) && f.ether_type() == Some(0x806))
                    .filter_map(|f| f.destination())
                    .collect();
                let missing =
                    || devices.iter().zip(&questions).filter(|(m, _)| !answered.contains(m));
                // Whoever has no answer asks again a second later (RFC 1122 2.3.2.1): the tunnel
                // carries no more ARP to all of them together than its port allows.
                if asked.is_none_or(|at| now() - at >= Duration::from_secs(1)) {
                    asked = Some(now());
                    let frames: Vec<Frame> = missing().map(|(_, q)| Frame::of(q)).collect();
                    socket.send(&frames)?;
                }
                Ok(missing().next().is_none().then_some(()))
            })
            .await?;
            println!("abroad {abroad}: all {CROWD} were answered after {:?}", now() - moved);
            // The home's bridge knows where each of them is.
            let port = if abroad { "home" } else { "lan-roamer" };
            world.town.home.gateway.enter(|| {
                let mut bridges = Bridges::open()?;
                let port = Links::open()?.by_name(port)?.map(|link| link.index);
                for mac in &devices {
                    let entry = bridges.entry("br0", *mac)?;
                    assert_eq!(entry.map(|e| e.port), port, "{mac:?}");
                }
                Ok(())
            })?;
        }
        Ok(())
    });
}
