//! Gateways that are both behind boxes which translate addresses: they learn by STUN where they are seen,
//! tell each other, and begin at once.
//!
//! ```text
//!   home ── box ══════╗                  ╔══════ box ── foreign
//!                     internet: who answers STUN, on two ports
//! ```

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use anyhow::Result;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::State;
use homeward_net::town::CORE;
use homeward_net::wait::{elapse, wait_for};
use homeward_net::{Lab, SitePlan, Translation, lab};
use homeward_stun::{Answerer, AnswererSettings, Nat};
use homeward_transport::{Datagram, Replies, RunningServer, ServerConfig, UdpServer};

use crate::world::{End, Plan, SOON, World};

/// Who answers STUN.
const PORTS: [u16; 2] = [3478, 3479];

/// A world with a box in front of each gateway, and who answers STUN.
struct Nats {
    world: World,
    _servers: Vec<RunningServer>,
}

impl Nats {
    async fn build(lab: &Lab, encrypted: bool, home: Site, foreign: Site) -> Result<Self> {
        let (home, foreign) = (home.plan(), foreign.plan());
        let plan = Plan { home, foreign, stun: true, ..Plan::sealed(encrypted) };
        let world = World::at_home(lab, plan).await?;
        let servers = PORTS.map(|port| {
            world.town.internet.enter(move || {
                let address = SocketAddr::from((CORE, port));
                let workers = Some(NonZeroUsize::MIN);
                let server =
                    UdpServer::bind(&ServerConfig { address, workers, receive_buffer: None })?;
                Ok(server.start(SystemClock, |_| {
                    let settings = AnswererSettings::default();
                    let mut answerer = Answerer::new(settings, &mut SystemEntropy::new());
                    move |asked: &Datagram<'_>, replies: &mut Replies| {
                        let room = replies.to(asked);
                        let _ = answerer.answer(asked.source, asked.bytes, asked.received, room);
                    }
                })?)
            })
        });
        let _servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
        for end in [&world.home, &world.foreign] {
            end.plane.set_stun(&PORTS.map(|port| SocketAddr::from((CORE, port))));
        }
        world.move_abroad().await?;
        let this = Self { world, _servers };
        for end in [&this.world.home, &this.world.foreign] {
            wait_for("servers to say where they see an end", SOON, async || {
                let seen = end.plane.reflexive()[0].servers.iter().all(|s| s.mapped.is_some());
                Ok(seen.then_some(()))
            })
            .await?;
        }
        Ok(this)
    }

    /// Tells each end where the other is seen: what the controller does.
    fn exchange(&self) -> Result<()> {
        let World { home, foreign, .. } = &self.world;
        foreign.set_peer_at(home, 2, seen(home).into_iter())?;
        home.set_peer_at(foreign, 1, seen(foreign).into_iter())
    }

    fn ends(&self) -> [&End; 2] {
        [&self.world.home, &self.world.foreign]
    }

    fn nats(&self) -> [Nat; 2] {
        self.ends().map(|end| end.plane.reflexive()[0].nat)
    }

    /// Tells them, and sees a ping through.
    async fn meet(&self) -> Result<()> {
        self.exchange()?;
        for end in self.ends() {
            end.up().await?;
        }
        let tv = self.world.town.home.host("tv").await?;
        self.world.lease().await?;
        self.world.roamer.ping(tv.lease.address, SOON).await?;
        Ok(())
    }

    /// Tells them, and sees that neither reaches the other.
    async fn miss(&self) -> Result<()> {
        self.exchange()?;
        for end in self.ends() {
            wait_for("an end to give up", SOON, async || {
                let state = end.status().state;
                assert_ne!(state, State::Up);
                Ok((state == State::Unreachable).then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

/// What is in front of a gateway.
#[derive(Debug, Clone, Copy)]
enum Site {
    Bare,
    Behind(Translation),
}

impl Site {
    fn plan(self) -> SitePlan {
        match self {
            Self::Bare => SitePlan::default(),
            Self::Behind(translation) => SitePlan { nat: true, translation, ..SitePlan::default() },
        }
    }
}

const STRICT: Site = Site::Behind(Translation::Strict);
const OPEN: Site = Site::Behind(Translation::Open);
const EACH: Site = Site::Behind(Translation::PerDestination);

/// Where servers see an end.
fn seen(end: &End) -> Vec<SocketAddr> {
    end.plane.reflexive()[0].servers.iter().filter_map(|server| server.mapped).collect()
}

#[test]
fn two_gateways_behind_boxes_that_translate_addresses_meet_encrypted() {
    lab(|lab| async move { meets(Nats::build(&lab, true, STRICT, STRICT).await?).await });
}

#[test]
fn two_gateways_behind_boxes_that_translate_addresses_meet_in_the_clear() {
    lab(|lab| async move { meets(Nats::build(&lab, false, STRICT, STRICT).await?).await });
}

async fn meets(nats: Nats) -> Result<()> {
    assert_eq!(nats.nats(), [Nat::SameForAll; 2]);
    nats.meet().await
}

#[test]
fn what_boxes_keep_for_a_tunnel_that_nobody_uses_is_kept() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, STRICT, STRICT).await?;
        for site in [&nats.world.town.home, &nats.world.town.foreign] {
            for knob in ["udp_timeout", "udp_timeout_stream"] {
                let knob = format!("net.netfilter.nf_conntrack_{knob}");
                site.nat.as_ref().expect("a box").sysctl(&knob, "4")?;
            }
        }
        nats.meet().await?;
        let tv = nats.world.town.home.host("radio").await?;
        nats.world.roamer.ping(tv.lease.address, SOON).await?;
        // Thrice as long as the boxes remember.
        elapse(std::time::Duration::from_secs(12)).await;
        for end in nats.ends() {
            assert_eq!(end.status().state, State::Up);
        }
        nats.world.roamer.ping(tv.lease.address, SOON).await?;
        Ok(())
    });
}

#[test]
fn a_box_that_shows_each_another_port_is_met_where_the_other_end_has_none() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, Site::Bare, EACH).await?;
        assert_eq!(nats.nats(), [Nat::None, Nat::PerDestination]);
        nats.meet().await
    });
}

#[test]
fn a_box_that_shows_each_another_port_is_met_where_the_others_lets_anybody_in() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, OPEN, EACH).await?;
        assert_eq!(nats.nats(), [Nat::SameForAll, Nat::PerDestination]);
        nats.meet().await?;
        // It learned the port from the first packet that got out.
        let learned = nats.world.home.status().endpoint.expect("it is up");
        assert!(!seen(&nats.world.foreign).contains(&learned), "{learned}");
        Ok(())
    });
}

#[test]
fn two_boxes_that_show_each_another_port_keep_their_gateways_apart_and_it_is_known_why() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, EACH, EACH).await?;
        nats.miss().await?;
        assert_eq!(nats.nats(), [Nat::PerDestination; 2]);
        Ok(())
    });
}

#[test]
fn so_do_one_that_does_and_one_that_lets_nobody_in_from_where_nothing_was_sent() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, STRICT, EACH).await?;
        nats.miss().await?;
        assert_eq!(nats.nats(), [Nat::SameForAll, Nat::PerDestination]);
        Ok(())
    });
}

#[test]
fn another_address_of_a_box_is_noticed_and_the_tunnel_comes_back() {
    lab(|lab| async move {
        let nats = Nats::build(&lab, true, STRICT, STRICT).await?;
        nats.meet().await?;
        let new = nats.world.town.home.renumber(77)?;
        wait_for("servers to see it elsewhere", SOON, async || {
            let at = seen(&nats.world.home);
            Ok((at.len() == 2 && at.iter().all(|at| at.ip() == new)).then_some(()))
        })
        .await?;
        nats.exchange()?;
        wait_for("the other end to follow", SOON * 2, async || {
            let at = nats.world.foreign.status().endpoint;
            Ok(at.filter(|at| at.ip() == new))
        })
        .await?;
        let tv = nats.world.town.home.host("radio").await?;
        nats.world.roamer.ping(tv.lease.address, SOON).await?;
        Ok(())
    });
}
