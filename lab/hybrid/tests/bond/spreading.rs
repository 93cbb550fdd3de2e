//! Two links at once.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use homeward_multipath::Mode;
use homeward_net::wait::elapse;
use homeward_net::{Capture, Download, Impairment, lab};

use homeward_hybrid::links::SOON;
use homeward_hybrid::{Links, VIP, cellular, wifi};

#[test]
fn of_what_is_mirrored_over_two_links_that_lose_a_tenth_a_hundredth_is_lost_and_nothing_comes_twice()
 {
    lab(|lab| async move {
        let world = Links::build(&lab, true, Mode::Mirrored).await?;
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
        println!("{lost} of 4000 lost: {:?}", world.home.status()?.drops);
        // 40 are to be expected; 15 is four deviations less, 65 four more.
        assert!((15..=65).contains(&lost), "{lost} of 4000 lost");
        Ok(())
    });
}

#[test]
fn downloads_striped_over_two_unequal_links_have_most_of_both() {
    lab(|lab| async move {
        let links = Links::build(&lab, true, Mode::Striped).await?;
        let tv = links.town.home.host("tv").await?;
        links.lease().await?;
        links.device.ping(tv.lease.address, SOON).await?;
        links.wlan.set(wifi(50_000_000));
        links.wwan.set(cellular(20_000_000));
        let mut downloads = Vec::new();
        for port in 8080..8083 {
            // CUBIC, as most servers have it: BBR has no more on its way than twice what the shorter
            // path holds, whatever is offered it.
            let (from, to, address) = (&tv.namespace, &links.device, tv.lease.address);
            let download = Download::governed(from, to, address, port, None, Some("cubic"));
            downloads.push(download.await?);
        }
        let total = || downloads.iter().map(Download::total).sum::<u64>();
        elapse(Duration::from_secs(3)).await;
        let (before, span) = (total(), Duration::from_secs(5));
        elapse(span).await;
        let rate = (total() - before) as f64 * 8.0 / span.as_secs_f64() / 1e6;
        let (home, away) = (links.home.bond()?, links.away.bond()?);
        println!("{rate:.1} Mbit/s; {home:?}");
        println!("{:?}", away.reorder);
        assert!(downloads.iter().all(|download| download.end().is_none()));
        // Of each frame of 1,514 octets on the links, 1,338 are the stream's.
        let most = 70.0 * 1338.0 / 1514.0;
        assert!(rate > 0.9 * most, "{rate:.1} Mbit/s of {most:.1}");
        // What is out of order would be a lost packet to TCP.
        assert!(away.reorder.late < 50, "{:?}", away.reorder);
        assert!(away.reorder.longest_wait_us < 200_000, "{:?}", away.reorder);
        Ok(())
    });
}
