//! Both ends of a wire: who wants to be let in, and who asks.

use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::{EapMethod, Secret};
use homeward_net::process::Process;
use homeward_net::{Lab, Namespace};
use homeward_supplicant::{Authority, Event, Medium, Network, StationEvents};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What would end a quoted value, begin another setting, or be something else than letters.
pub(crate) const PASSWORD: &str = "hash:\"#a' \\x00=\"b";

/// The authority of the server's certificate.
pub(crate) const OURS: &str = "Authority";

/// What the server's certificate is like.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Certificate {
    Good,
    Expired,
    Early,
}

/// A switch that asks who is at its port, and a device without a supplicant.
pub(crate) struct Switch {
    pub(crate) dir: TempDir,
    pub(crate) device: Namespace,
    pub(crate) place: Namespace,
    pub(crate) hostapd: Process,
    pub(crate) ca: String,
}

impl Switch {
    pub(crate) async fn start(lab: &Lab, certificate: Certificate) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ca = certificates(&dir, OURS, certificate)?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (device, place) = (lab.namespace("device")?, lab.namespace("switch")?);
        device.join("sta", &place, "port")?;
        let users = "* PEAP,TTLS\n".to_owned()
            + &format!(
                "\"u7@example.net\" MSCHAPV2,TTLS-PAP,TTLS-MSCHAPV2 {} [2]\n",
                data_encoding::HEXLOWER.encode(PASSWORD.as_bytes())
            );
        std::fs::write(at("users"), users)?;
        let config = format!(
            "interface=port\ndriver=wired\nieee8021x=1\nuse_pae_group_addr=0\neap_server=1\n\
             eap_user_file={}\nca_cert={}\nserver_cert={}\nprivate_key={}\nctrl_interface={}\n",
            at("users"),
            at("ca.pem"),
            at("server.pem"),
            at("server.key"),
            at("hostapd")
        );
        std::fs::write(at("hostapd.conf"), config)?;
        let conf = at("hostapd.conf");
        let mut hostapd = lab.process("hostapd", &place, &["hostapd", "-dd", &conf])?;
        hostapd.makes(&dir.path().join("hostapd/port"), LIMIT).await?;
        Ok(Self { dir, device, place, hostapd, ca })
    }

    /// The network behind the port.
    pub(crate) fn network(&self) -> Network {
        Network {
            medium: Medium::Wired,
            eap: EapMethod::Peap,
            identity: "u7@example.net".parse().unwrap(),
            anonymous: Some("anonymous@example.net".parse().unwrap()),
            password: Secret::new(PASSWORD),
            authority: Authority::Pem(self.ca.clone()),
            server_name: "example.net".to_owned(),
            priority: 1,
        }
    }
}

/// An authority and a server's certificate, of aaa.example.net; returns the authority's.
pub(crate) fn certificates(dir: &TempDir, authority: &str, kind: Certificate) -> Result<String> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2090, 1, 1));
    let ca = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["aaa.example.net".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "aaa.example.net");
    let (from, to) = match kind {
        Certificate::Good => (2000, 2090),
        Certificate::Expired => (2000, 2001),
        Certificate::Early => (2089, 2090),
    };
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("server.pem"), params.signed_by(&key, &issuer)?.pem())?;
    std::fs::write(at("server.key"), key.serialize_pem())?;
    std::fs::write(at("ca.pem"), &ca)?;
    Ok(ca)
}

/// Reads events up to the first that `last` knows.
pub(crate) async fn until(
    events: &mut StationEvents,
    last: impl Fn(&Event) -> bool,
) -> Result<Vec<Event>> {
    let mut seen = Vec::new();
    loop {
        let next = tokio::time::timeout(LIMIT, events.next()).await;
        seen.push(next.with_context(|| format!("no such event after {seen:?}"))??);
        if seen.last().is_some_and(&last) {
            return Ok(seen);
        }
    }
}
