//! Two links at once.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use homeward_multipath::Mode;
use homeward_net::wait::elapse;
use homeward_net::{Capture, Impairment, lab};

use crate::world::{SOON, VIP, World, cellular, wifi};

#[test]
fn of_what_is_mirrored_over_two_links_that_lose_a_tenth_a_hundredth_is_lost_and_nothing_comes_twice()
 {
    lab(|lab| async move {
        let world = World::build(&lab, true, Mode::Mirrored).await?;
        let tv = world.town.home.host("tv").await?;
        world.lease().await?;
        world.device.ping(tv.lease.address, SOON).await?;
        world.wlan.set(Impairment { loss: 0.1, ..wifi(100_000_000) });
        world.wwan.set(Impairment { loss: 0.1, ..cellular(50_000_000) });
        let ear = Capture::start(&tv.namespace, "eth0")?;
        let to = (tv.lease.address, 9);
        world
            .device
            .run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                for number in 0..4000u32 {
                    socket.send_to(&number.to_be_bytes(), to)?;
                    if number % 10 == 9 {
                        homeward_net::wait::pause(Duration::from_millis(2));
                    }
                }
                Ok(())
            })
            .await?;
        // Nothing says that the last one has come; the slower link takes 50 ms.
        elapse(Duration::from_millis(300)).await;
        let mut seen = BTreeMap::<u32, u32>::new();
        for frame in ear.arrivals() {
            let is_ours = frame.source() == Some(VIP)
                && frame.ether_type() == Some(0x0800)
                && frame.octets.get(23) == Some(&17)
                && frame.octets.get(36..38) == Some(&[0, 9]);
            if let Some(number) = frame.octets.get(42..46).filter(|_| is_ours) {
                *seen.entry(u32::from_be_bytes(number.try_into()?)).or_default() += 1;
            }
        }
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "came more than once: {twice:?}");
        let lost = 4000 - seen.len();
        println!("{lost} of 4000 lost: {:?}", world.home.status().drops);
        // 40 are to be expected; 15 is four deviations less, 65 four more.
        assert!((15..=65).contains(&lost), "{lost} of 4000 lost");
        Ok(())
    });
}
