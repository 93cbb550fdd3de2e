//! What a roamer, or the gateway that forwards its frames, may try on the home LAN.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use homeward_linux::{Frame, FrameSocket};
use homeward_model::Mac;
use homeward_net::sweep::arp_reply;
use homeward_net::wait::{elapse, now};
use homeward_net::{Capture, lab};

use crate::world::{HOME_COOKIE, PORT, Plan, ROAMER, SOON, World};

const ALL: Mac = Mac::new([0xff; 6]);
const OTHER: Mac = Mac::new([2, 0, 0, 0, 0xbb, 1]);

/// A frame that is let through, and by which it is told that those before it have been looked at.
fn greeting(own: [u8; 4], number: u8) -> Vec<u8> {
    let mut payload = b"greeting ".to_vec();
    payload.push(number);
    udp(ROAMER, ALL, own, [255; 4], [4000, 4000], &payload)
}

/// What must not reach the LAN, each with its name.
fn evil(own: [u8; 4], tv: Ipv4Addr, router: Mac) -> Vec<(&'static str, Vec<u8>)> {
    let gateway = Ipv4Addr::new(192, 168, 1, 1);
    // RFC 2131: an offer of a server that is none.
    let mut offer = vec![2, 1, 6, 0, 9, 9, 9, 9];
    offer.resize(236, 0);
    offer.extend([99, 130, 83, 99, 53, 1, 2, 54, 4]);
    offer.extend(own);
    offer.push(255);
    // RFC 4861: a router's advertisement, by ff02::1.
    let all_nodes = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
    let advertisement =
        icmpv6(ROAMER, all_nodes, &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    let redirect = icmpv6(ROAMER, all_nodes, &[[137, 0, 0, 0].as_slice(), &[0; 36]].concat());
    let tagged = {
        let mut frame = greeting(own, 0xee);
        frame.splice(12..12, [0x81, 0, 0, 7]);
        frame
    };
    let bridge = Mac::new([1, 0x80, 0xc2, 0, 0, 0]);
    let spanning = ethernet(ROAMER, bridge, 39, &[[0x42, 0x42, 3].as_slice(), &[0; 43]].concat());
    vec![
        (
            "a source that is not the roamer's",
            udp(OTHER, ALL, own, [255; 4], [4000, 4000], b"evil"),
        ),
        (
            "the router's own address as a source",
            udp(router, ALL, own, [255; 4], [4000, 4000], b"evil"),
        ),
        ("a DHCP server's offer", udp(ROAMER, ALL, own, [255; 4], [67, 68], &offer)),
        ("a router advertisement", advertisement),
        ("a redirect", redirect),
        (
            "a source address that is another's",
            udp(ROAMER, ALL, tv.octets(), [255; 4], [4000, 4000], b"evil"),
        ),
        ("a claim to the router's address", arp_reply((ROAMER, gateway), (ALL, gateway))),
        ("a claim to another's address", arp_reply((ROAMER, tv), (ALL, tv))),
        (
            "a claim in another's name",
            arp_reply((OTHER, Ipv4Addr::from(own)), (ALL, Ipv4Addr::from(own))),
        ),
        ("a VLAN tag", tagged),
        ("a bridge's protocol", spanning),
    ]
}

#[test]
fn nothing_that_a_roamer_forges_reaches_the_home_lan() {
    lab(|lab| async move {
        let world = World::build(&lab, Plan::sealed(true)).await?;
        let tv = world.town.home.host("tv").await?;
        let own = world.lease().await?;
        // The home end knows who has which address from what it sees.
        world.roamer.ping(tv.lease.address, SOON).await?;
        world.roamer.ping(own.router, SOON).await?;
        let router = homeward_net::namespace::mac_of(&world.town.home.gateway, "br0")?;
        let ear = Capture::start(&tv.namespace, "eth0")?;
        let own = own.address.octets();
        for (number, (what, frame)) in evil(own, tv.lease.address, router).into_iter().enumerate() {
            let number = u8::try_from(number)?;
            let before = ear.arrivals().len();
            world.roamer.enter(|| {
                let socket = FrameSocket::open("eth0", 1 << 20)?;
                socket.send(&[Frame::of(&frame), Frame::of(&greeting(own, number))])?;
                Ok(())
            })?;
            arrived_alone(&ear, before, what, &frame, &greeting(own, number)).await?;
        }
        Ok(())
    });
}

#[test]
fn nothing_that_a_foreign_gateway_forges_reaches_the_home_lan() {
    lab(|lab| async move {
        // In the clear, so that the test can speak for the gateway.
        let world = World::build(&lab, Plan::sealed(false)).await?;
        let tv = world.town.home.host("tv").await?;
        let own = world.lease().await?;
        world.roamer.ping(tv.lease.address, SOON).await?;
        world.roamer.ping(own.router, SOON).await?;
        let router = homeward_net::namespace::mac_of(&world.town.home.gateway, "br0")?;
        let ear = Capture::start(&tv.namespace, "eth0")?;
        // Its own data plane stops speaking: these come from where it is.
        world.foreign.plane.stop();
        let from = (world.town.foreign.gateway_address(), PORT);
        let socket = world.town.foreign.gateway.enter(|| Ok(UdpSocket::bind(from)?))?;
        let mut sequence = 0x80_0000u32.wrapping_sub(1) & 0xff_ffff;
        let mut say = |frame: &[u8]| -> Result<()> {
            sequence = sequence.wrapping_add(1);
            socket.send_to(&data_message(frame, sequence), (world.town.home.address(), PORT))?;
            Ok(())
        };
        // From where the other's numbers were: ahead of them, but not by half of all.
        let own = own.address.octets();
        for (number, (what, frame)) in evil(own, tv.lease.address, router).into_iter().enumerate() {
            let number = u8::try_from(number)?;
            let before = ear.arrivals().len();
            say(&frame)?;
            say(&greeting(own, number))?;
            arrived_alone(&ear, before, what, &frame, &greeting(own, number)).await?;
        }
        Ok(())
    });
}

/// The greeting has come, and the frame that was sent before it has not.
async fn arrived_alone(
    ear: &Capture,
    before: usize,
    what: &str,
    frame: &[u8],
    greeting: &[u8],
) -> Result<()> {
    let wanted = format!("the greeting after {what}");
    ear.first(&wanted, SOON, |arrival| arrival.octets.starts_with(greeting)).await?;
    let forged = ear.arrivals().into_iter().skip(before).find(|a| a.octets.starts_with(frame));
    assert_eq!(forged, None, "{what} reached the LAN");
    Ok(())
}

#[test]
fn a_storm_of_broadcasts_reaches_the_home_lan_as_a_breeze_and_stops_nothing_else() {
    lab(|lab| async move {
        let world = World::build(&lab, Plan::sealed(true)).await?;
        let tv = world.town.home.host("tv").await?;
        let own = world.lease().await?;
        world.roamer.ping(tv.lease.address, SOON).await?;
        let ear = Capture::start(&tv.namespace, "eth0")?;
        let begun = now();
        let address = own.address.octets();
        world
            .roamer
            .run(move || {
                let socket = FrameSocket::open("eth0", 1 << 20)?;
                let storm = udp(ROAMER, ALL, address, [255; 4], [4000, 4000], &[7; 100]);
                let storm = vec![Frame::of(&storm); 50];
                for _ in 0..200 {
                    socket.send(&storm)?;
                    homeward_net::wait::pause(Duration::from_millis(5));
                }
                Ok(())
            })
            .await?;
        let trip = world.roamer.ping(tv.lease.address, SOON).await?;
        assert!(trip < Duration::from_millis(100), "{trip:?}");
        elapse(Duration::from_millis(200)).await;
        let span = (now() - begun).as_secs_f64();
        let came = ear.count(|frame| frame.contains(&[7; 100]));
        println!("{came} of 10000 in {span:.1} s");
        // At once 200, then 100 a second.
        assert!((100..=(260.0 + 110.0 * span) as usize).contains(&came), "{came} in {span} s");
        Ok(())
    });
}

fn ethernet(from: Mac, to: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to.octets()[..], &from.octets(), &ether_type.to_be_bytes(), payload].concat()
}

/// UDP without a checksum, in IPv4 with one.
fn udp(
    from: Mac,
    to: Mac,
    source: [u8; 4],
    target: [u8; 4],
    [source_port, target_port]: [u16; 2],
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("short");
    let total = (length + 20).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(source);
    header.extend(target);
    let sum: u32 =
        header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(source_port.to_be_bytes());
    header.extend(target_port.to_be_bytes());
    header.extend(length.to_be_bytes());
    header.extend([0, 0]);
    header.extend(payload);
    ethernet(from, to, 0x0800, &header)
}

/// ICMPv6 from fe80::1 to ff02::1. Its checksum is wrong, which only a host would look at.
fn icmpv6(from: Mac, to: Mac, message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
    packet.extend([58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(message);
    ethernet(from, to, 0x86dd, &packet)
}

/// An L2TPv3 data message over UDP (RFC 3931 4.1.2.1) of home's session, with the default
/// sublayer's sequence number (4.6).
fn data_message(frame: &[u8], sequence: u32) -> Vec<u8> {
    let [_, a, b, c] = sequence.to_be_bytes();
    [&[0, 3, 0, 0, 0, 0, 0, 2][..], &HOME_COOKIE, &[0x40, a, b, c], frame].concat()
}
