//! Anything at all, in any order: what the machine promises holds, and when the disturbances end
//! the device comes to Wi-Fi.

use homeward_model::{Rssi, UnixTime};
use homeward_offload::manager::{
    Connectivity, Failure, Heard, ModemFacts, Registration, Settings, SupplicantEvent, WallClock,
};
use homeward_offload::wire::sms;
use proptest::prelude::*;

use crate::portal::{NUMBER, Post, messages};
use crate::world::{Manner, Mood, World, imei, imsi, mac, ms, s, ssid};

#[derive(Debug, Clone)]
enum Op {
    Modem { present: bool, sim: Option<u8>, imei: Option<u8>, bearer: bool, messages: bool },
    Scan { ap: u8, signal: i8, enterprise: bool },
    Signal(i8),
    Supplicant(SupplicantEvent),
    Restart,
    Reply { which: usize, how: u8 },
    Connectivity { which: usize, found: Connectivity },
    Address(bool),
    Clock(i64),
    Switch { offload: bool, metered: bool },
    Mood(Mood, bool),
    Post { mood: Post, way: u64, messages: bool },
    Message { forged: bool, nonce: u8 },
    Manner { ap: u8, manner: Manner, leads: Connectivity, signal: i8 },
    Terms { lifetime: Option<u64>, one_time: bool, dated: bool },
    Reacts(bool),
    Run(u64),
}

fn found() -> impl Strategy<Value = Connectivity> {
    prop_oneof![Just(Connectivity::Open), Just(Connectivity::Captive), Just(Connectivity::Dead)]
}

fn supplicant() -> impl Strategy<Value = SupplicantEvent> {
    let bssid = || (1u8..5).prop_map(mac);
    prop_oneof![
        Just(SupplicantEvent::Lost),
        any::<bool>().prop_map(SupplicantEvent::Radio),
        bssid().prop_map(|bssid| SupplicantEvent::Associated { bssid }),
        bssid().prop_map(|bssid| SupplicantEvent::Connected { bssid }),
        bssid().prop_map(|bssid| SupplicantEvent::AssociationFailed { bssid: Some(bssid) }),
        Just(SupplicantEvent::Rejected),
        Just(SupplicantEvent::WrongServer { what: String::new() }),
        Just(SupplicantEvent::Disconnected),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let signal = || -94i8..=-40;
    let manner = prop_oneof![
        4 => Just(Manner::Welcomes),
        1 => Just(Manner::TakesNobody),
        1 => Just(Manner::Rejects),
        1 => Just(Manner::WrongServer),
        1 => Just(Manner::Mute),
        1 => Just(Manner::NoLease),
    ];
    let mood = prop_oneof![
        3 => Just(Mood::Answers),
        1 => Just(Mood::Refuses),
        1 => Just(Mood::Away),
        1 => Just(Mood::Garbles),
        1 => Just(Mood::Busy),
        1 => Just(Mood::Silent),
    ];
    let post = prop_oneof![
        3 => Just(Post::Answers),
        1 => Just(Post::Refuses),
        1 => Just(Post::Garbles),
        1 => Just(Post::Silent),
        1 => Just(Post::Unsent),
        1 => Just(Post::Stuck),
    ];
    prop_oneof![
        2 => (
            any::<bool>(),
            prop::option::of(1u8..3),
            prop::option::of(1u8..3),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(present, sim, imei, bearer, messages)| {
                Op::Modem { present, sim, imei, bearer, messages }
            }),
        2 => (post, 0u64..1000, any::<bool>())
            .prop_map(|(mood, way, messages)| Op::Post { mood, way, messages }),
        2 => (any::<bool>(), 0u8..3).prop_map(|(forged, nonce)| Op::Message { forged, nonce }),
        3 => (1u8..5, signal(), prop::bool::weighted(0.9))
            .prop_map(|(ap, signal, enterprise)| Op::Scan { ap, signal, enterprise }),
        3 => signal().prop_map(Op::Signal),
        4 => supplicant().prop_map(Op::Supplicant),
        1 => Just(Op::Restart),
        2 => (0usize..3, 0u8..6).prop_map(|(which, how)| Op::Reply { which, how }),
        2 => (0usize..3, found()).prop_map(|(which, found)| Op::Connectivity { which, found }),
        2 => any::<bool>().prop_map(Op::Address),
        1 => any::<i64>().prop_map(Op::Clock),
        2 => (prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(offload, metered)| Op::Switch { offload, metered }),
        2 => (mood, any::<bool>()).prop_map(|(mood, bearer)| Op::Mood(mood, bearer)),
        3 => (1u8..5, manner, found(), signal())
            .prop_map(|(ap, manner, leads, signal)| Op::Manner { ap, manner, leads, signal }),
        1 => (prop::option::of(1u64..5000), any::<bool>(), any::<bool>())
            .prop_map(|(lifetime, one_time, dated)| Op::Terms { lifetime, one_time, dated }),
        1 => any::<bool>().prop_map(Op::Reacts),
        6 => (0u64..20_000).prop_map(Op::Run),
        1 => (0u64..4_000_000).prop_map(Op::Run),
    ]
}

fn step(world: &mut World, op: Op) {
    match op {
        Op::Modem { present, sim, imei: equipment, bearer, messages } => {
            world.modem = ModemFacts {
                present,
                imsi: sim.map(imsi),
                imei: equipment.map(imei),
                registration: Registration::Roaming,
                bearer,
                messages,
            };
            world.tell_modem();
        }
        Op::Scan { ap, signal, enterprise } => {
            let name = ssid(["Town", "Town", "Dear", "Other"][usize::from(ap) - 1]);
            let heard = Heard { bssid: mac(ap), ssid: name, signal: Rssi(signal), enterprise };
            world.m.handle_scan(&[heard], world.now);
        }
        Op::Signal(signal) => world.m.handle_signal(Rssi(signal), world.now),
        Op::Supplicant(event) => {
            if event == SupplicantEvent::Lost {
                world.supplicant = false;
                world.associated = None;
            }
            if world.supplicant || event == SupplicantEvent::Lost {
                world.supplicant_says(event);
            }
        }
        Op::Restart => world.start_supplicant(),
        Op::Reply { which, how } => {
            if let Some((id, request)) = world.open_requests.get(which).cloned() {
                let result = match how {
                    0 | 1 => Ok(world.issue(&request)),
                    2 => Err(Failure::Refused),
                    3 => Err(Failure::Away(String::new())),
                    4 => Err(Failure::Busy(None)),
                    _ => {
                        let mut answer = world.issue(&request);
                        answer.date = answer.expires.or(answer.date);
                        Ok(answer)
                    }
                };
                world.reply(id, result);
            }
        }
        Op::Connectivity { which, found } => {
            let id = world.open_verifies.iter().rev().nth(which).copied();
            if let Some(id) = id {
                world.connectivity(id, found);
            }
        }
        Op::Address(present) => world.m.handle_address(present, world.now),
        Op::Clock(unix) => {
            let wall = WallClock { unix: UnixTime(unix), offset: (unix % 900) as i32 };
            world.m.handle_clock(wall, world.now);
        }
        Op::Switch { offload, metered } => world.switch(|switches| {
            (switches.offload, switches.metered) = (offload, metered);
        }),
        Op::Mood(mood, bearer) => {
            world.portal.mood = mood;
            world.bearer(bearer);
        }
        Op::Post { mood, way, messages } => {
            (world.post.mood, world.post.way) = (mood, s(way));
            world.messages(messages);
        }
        Op::Message { forged, nonce } => {
            let last = world.post.sent.last().and_then(|(_, text)| sms::nonce(text));
            // Nobody but the portal knows the nonce of what was asked last.
            let text = match (forged, nonce) {
                (true, 0) => world.forged(None),
                (true, _) => world.forged(Some(sms::Nonce::new([nonce; 5]))),
                (false, 0) => "see you at 8".to_owned(),
                (false, _) => sms::with_nonce("HW1 R".to_owned().into(), last).to_string(),
            };
            let from = if nonce == 2 { NUMBER } else { "447700900999" };
            world.message(from, &text);
        }
        Op::Manner { ap, manner, leads, signal } => {
            let ap = world.ap(ap);
            (ap.manner, ap.leads, ap.signal) = (manner, leads, signal);
        }
        Op::Terms { lifetime, one_time, dated } => {
            world.portal.lifetime = lifetime.map(s);
            world.portal.window = s(lifetime.unwrap_or(0) / 4);
            (world.portal.one_time, world.portal.dated) = (one_time, dated);
        }
        Op::Reacts(reacts) => world.reacts = reacts,
        Op::Run(span) => world.run(ms(span)),
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold_and_it_ends_well(
        seed in any::<u64>(),
        near in any::<bool>(),
        per_hour in 1u16..40,
        by_message in any::<bool>(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let messages = by_message.then(messages);
        let settings = Settings { requests_per_hour: per_hour, messages, ..Settings::default() };
        let mut world = World::with(settings, None, seed);
        world.begin();
        if near {
            world.ap(1).signal = -50;
            world.until(s(60), |w| w.on_wifi);
        }
        for op in ops {
            step(&mut world, op);
        }
        // The disturbances end.
        world.reacts = true;
        world.wall_error = 0;
        (world.portal.mood, world.portal.dated) = (Mood::Answers, true);
        (world.portal.lifetime, world.portal.one_time) = (Some(s(86_400)), false);
        world.portal.issued = None;
        for ap in &mut world.aps {
            (ap.leads, ap.manner, ap.signal) = (Connectivity::Open, Manner::Welcomes, -94);
        }
        world.ap(1).signal = -50;
        world.supplicant_says(SupplicantEvent::Radio(true));
        world.start_supplicant();
        world.clock();
        world.switch(|switches| switches.offload = true);
        world.bearer(true);
        world.until(s(3 * 3600), |w| w.on_wifi);
        world.run(s(3600));
        prop_assert!(world.on_wifi);
    }
}
