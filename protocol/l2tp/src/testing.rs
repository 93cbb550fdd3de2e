//! The bodies of the fuzz targets.

use homeward_model::Instant;

use crate::{
    Cookie, Delivery, Discard, Echo, Encapsulation, Inbound, InboundSettings, SessionConfig,
    SessionId, Sublayer, peek_session_id,
};

/// The session that the corpus of `l2tp_packet` is for: id 1 and cookie `0123456789abcdef` in
/// both directions.
pub fn session(encapsulation: Encapsulation, sublayer: Sublayer) -> Option<SessionConfig> {
    let id = SessionId::new(1)?;
    let cookie = Cookie::eight([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    Some(SessionConfig {
        local_session: id,
        remote_session: id,
        local_cookie: cookie,
        remote_cookie: cookie,
        sublayer,
        encapsulation,
    })
}

/// Target `l2tp_packet`: packets in a row, each after its length in two octets, to a session of
/// every kind.
pub fn fuzz_packet(data: &[u8]) {
    for encapsulation in [Encapsulation::Udp, Encapsulation::Ip] {
        for sublayer in [Sublayer::None, Sublayer::Unnumbered, Sublayer::Numbered] {
            if let Some(session) = session(encapsulation, sublayer) {
                receive(data, &session);
            }
        }
    }
}

fn receive(mut data: &[u8], session: &SessionConfig) {
    let settings =
        InboundSettings { window: 64, max_held: 4096, max_runs: 4, ..InboundSettings::default() };
    let mut inbound = Inbound::new(session, settings);
    let mut milliseconds = 0;
    while let Some((len, rest)) = data.split_first_chunk() {
        let (packet, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
        data = rest;
        milliseconds += 30;
        let now = Instant::from_nanos(milliseconds * 1_000_000);
        let peeked = peek_session_id(packet, session.encapsulation);
        let taken = inbound.accept(packet, now);
        match taken {
            Ok(Delivery::Frame(frame)) => {
                assert!((14..=u16::MAX.into()).contains(&frame.len()), "a frame has a header");
            }
            Ok(Delivery::Control(message)) => drop(Echo::decode(message)),
            Ok(Delivery::Pending) => assert_eq!(session.sublayer, Sublayer::Numbered),
            Err(_) => {}
        }
        let refused = taken.err();
        match peeked {
            Ok(id) => {
                let other = refused == Some(Discard::OtherSession);
                assert_eq!(other, id != session.local_session, "demultiplexed as it is accepted");
            }
            Err(reason) => assert_eq!(refused, Some(reason), "refused for the same reason"),
        }
        assert!(inbound.held() <= settings.max_held, "{} octets are held", inbound.held());
    }
    inbound.handle_timeout(Instant::from_nanos(u64::MAX));
    assert_eq!((inbound.held(), inbound.poll_timeout()), (0, None), "nothing is kept for ever");
}

/// Target `l2tp_echo`: what is read is written as the same, but for the padding's octets.
pub fn fuzz_echo(data: &[u8]) {
    let Ok(echo) = Echo::decode(data) else { return };
    let mut room = vec![0xff; data.len()];
    if usize::from(u16::MAX) >= data.len() {
        assert_eq!(echo.write(&mut room), Some(data.len()), "as long as it was");
        assert_eq!(Echo::decode(&room), Ok(echo), "and read again as the same");
    }
}
