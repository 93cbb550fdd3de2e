//! One end of one tunnel with a static configuration: for measurements, and for trying it against
//! a kernel's l2tp and wireguard.
//!
//! ```text
//! tunnel listen=0.0.0.0:1701 peer=192.0.2.2:1701 tap=tap0 mac=02:00:00:00:00:01 side=foreign
//!        device=02:00:00:00:00:01 session=1:2 cookie=0011223344556677:8899aabbccddeeff
//!        [sublayer=numbered|unnumbered|none]
//!        [key=<64 hex digits> peer-key=<64 hex digits> inner=10.255.0.1 peer-inner=10.255.0.2]
//! ```
//!
//! With `key` it is inside WireGuard; `key` alone prints the public key. `session` and `cookie`
//! are what arrives and what is sent. `device` is the stranger's MAC, at whichever end it is.
//! Events go to standard output. `status` on standard input prints how it fares, in JSON; the end
//! of standard input ends it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::net::SocketAddr;

use anyhow::{Context, bail};
use homeward_daemon::clock::SystemClock;
use homeward_daemon::entropy::SystemEntropy;
use homeward_dataplane::{
    Config, Dataplane, Key, PeerConfig, PeerId, Side, TunnelConfig, TunnelId,
};
use homeward_l2tp::{Cookie, SessionConfig, SessionId, Sublayer};
use homeward_model::Mac;

fn main() -> anyhow::Result<()> {
    let mut words = BTreeMap::new();
    for word in std::env::args().skip(1) {
        let (name, value) = word.split_once('=').context("write name=value")?;
        words.insert(name.to_owned(), value.to_owned());
    }
    let word = |name: &str| words.get(name).map(String::as_str);
    let need = |name: &str| word(name).with_context(|| format!("{name}= is missing"));

    let key = word("key").map(hex::<32>).transpose()?;
    let mut config = Config::new(Key::new(key.unwrap_or([1; 32])));
    if let Some(listen) = word("listen") {
        config.listen = vec![listen.parse().context("listen")?];
    }
    let dataplane = Dataplane::start(config, SystemClock, SystemEntropy::new(), |event| {
        say(&format!("{event:?}"))
    })?;
    let public: String = dataplane.public_key().iter().map(|o| format!("{o:02x}")).collect();
    say(&format!("public key {public}"));
    if words.len() == 1 && key.is_some() {
        return Ok(());
    }

    let peer = PeerConfig {
        public_key: word("peer-key").map(hex::<32>).transpose()?.unwrap_or([2; 32]),
        preshared_key: word("preshared-key").map(hex::<32>).transpose()?.map(Key::new),
        inner_address: word("peer-inner").unwrap_or("10.255.0.2").parse().context("peer-inner")?,
        endpoints: word("peer")
            .map(|peer| peer.split(',').map(str::parse).collect::<Result<Vec<SocketAddr>, _>>())
            .transpose()
            .context("peer")?
            .unwrap_or_default(),
        access: None,
    };
    dataplane.set_inner_address(word("inner").unwrap_or("10.255.0.1").parse().context("inner")?);
    dataplane.set_peer(PeerId(1), peer)?;

    let (local_session, remote_session) = pair(need("session")?)?;
    let (local_cookie, remote_cookie) = word("cookie").map_or(Ok(("", "")), pair)?;
    let session = SessionConfig {
        local_session: SessionId::new(local_session.parse()?).context("a session is not 0")?,
        remote_session: SessionId::new(remote_session.parse()?).context("a session is not 0")?,
        local_cookie: cookie(local_cookie)?,
        remote_cookie: cookie(remote_cookie)?,
        sublayer: match word("sublayer").unwrap_or("numbered") {
            "numbered" => Sublayer::Numbered,
            "unnumbered" => Sublayer::Unnumbered,
            "none" => Sublayer::None,
            other => bail!("sublayer={other} is none of numbered, unnumbered, none"),
        },
        encapsulation: homeward_l2tp::Encapsulation::Udp,
    };
    let device: Mac = need("device")?.parse()?;
    let port = homeward_port::Settings {
        devices: vec![homeward_port::Device::new(device)],
        ..homeward_port::Settings::default()
    };
    let side = match need("side")? {
        "home" => Side::Home,
        "foreign" => Side::Foreign,
        other => bail!("side={other} is neither home nor foreign"),
    };
    let tap = dataplane.open(
        TunnelId(1),
        TunnelConfig {
            peer: PeerId(1),
            encrypted: key.is_some(),
            session,
            tap: need("tap")?.to_owned(),
            mac: word("mac").map(str::parse).transpose()?,
            mtu: 1500,
            port,
            side,
            bond: None,
        },
    )?;
    say(&format!("ready {}", tap.name));
    for line in stdin().lock().lines() {
        if line?.trim() == "status" {
            say(&serde_json::to_string(&dataplane.status())?);
        }
    }
    dataplane.stop();
    Ok(())
}

fn say(line: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn pair(text: &str) -> anyhow::Result<(&str, &str)> {
    text.split_once(':').with_context(|| format!("{text}: write what arrives:what is sent"))
}

fn cookie(text: &str) -> anyhow::Result<Cookie> {
    Ok(match text.len() {
        0 => Cookie::NONE,
        8 => Cookie::four(hex(text)?),
        _ => Cookie::eight(hex(text)?),
    })
}

fn hex<const N: usize>(text: &str) -> anyhow::Result<[u8; N]> {
    let mut octets = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        bail!("write {} hex digits", 2 * N);
    }
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
    }
    Ok(octets)
}
