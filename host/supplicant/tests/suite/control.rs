//! The client of the control socket against a real wpa_supplicant, which a real hostapd asks who it
//! is.
//!
//! ```text
//!   [wpa_supplicant -Dwired] sta ══ veth ══ port [hostapd driver=wired, its own EAP server]
//!     namespace "device"                      namespace "switch"
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use homeward_model::{EapMethod, Secret};
use homeward_net::process::Process;
use homeward_net::{Capture, Lab, lab};
use homeward_supplicant::{
    Authority, CertificateFault, Event, Medium, Network, Settings, State, StationEvents, Supplicant,
};

use crate::world::{Certificate, LIMIT, OURS, Switch, certificates, until};

/// Both ends of the wire.
struct Wire {
    switch: Switch,
    supplicant: Process,
}

impl Wire {
    async fn build(lab: &Lab, certificate: Certificate) -> Result<Self> {
        let switch = Switch::start(lab, certificate).await?;
        let at = |name: &str| switch.dir.path().join(name).display().to_string();
        std::fs::write(
            at("supplicant.conf"),
            format!("ctrl_interface={}\nap_scan=0\n", at("wpa")),
        )?;
        let conf = at("supplicant.conf");
        let mut supplicant = lab.process(
            "supplicant",
            &switch.device,
            &["wpa_supplicant", "-dd", "-D", "wired", "-i", "sta", "-c", &conf],
        )?;
        supplicant.makes(&switch.dir.path().join("wpa/sta"), LIMIT).await?;
        Ok(Self { switch, supplicant })
    }

    fn socket(&self) -> PathBuf {
        self.switch.dir.path().join("wpa/sta")
    }

    fn client(&self) -> Result<Supplicant> {
        let run_dir = self.switch.dir.path().join("run");
        let (socket, patience) = (self.socket(), LIMIT);
        Ok(Supplicant::new(&Settings { socket, run_dir, patience, keep: None })?)
    }

    fn network(&self) -> Network {
        self.switch.network()
    }
}

#[test]
fn a_device_is_logged_on_by_each_method_whatever_its_password() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let client = wire.client()?;
        let mut events = StationEvents::Own(client.events().await?);
        let heard = Capture::start(&wire.switch.place, "port")?;
        for (eap, number) in
            [(EapMethod::Peap, 25), (EapMethod::TtlsPap, 21), (EapMethod::TtlsMschapv2, 21)]
        {
            let id = client.add(&Network { eap, ..wire.network() }).await?;
            client.select(id).await?;
            let seen = until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
            let begun = seen.iter().position(|e| *e == Event::EapStarted);
            let method = seen.iter().position(|e| *e == Event::EapMethod { method: number });
            let succeeded = seen.iter().position(|e| *e == Event::EapSucceeded);
            ensure!(begun.is_some() && begun < method && method < succeeded, "{eap}: {seen:?}");
            let Some(Event::Connected { id: Some(on), .. }) = seen.last() else { unreachable!() };
            assert_eq!(*on, id);
            let status = client.status().await?;
            ensure!(status.state == State::Completed && status.authorized, "{status:?}");
            ensure!(status.id == Some(id) && status.ours && status.address.is_some(), "{status:?}");
            // On a wire there is no signal, and that is no fault.
            assert_eq!(client.signal().await?, None);
            assert!(client.remove(id).await?);
            until(&mut events, |e| matches!(e, Event::Disconnected { ours: true, .. })).await?;
            assert!(!client.remove(id).await?);
        }
        // What was told in the clear is the anonymous name.
        let told = |name: &str| heard.count(|frame| frame.contains(name.as_bytes()));
        assert_eq!((told("anonymous@example.net"), told("u7@example.net")), (3, 0));
        Ok(())
    });
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_helps() {
    lab(|lab| async move {
        let mut wire = Wire::build(&lab, Certificate::Good).await?;
        let client = wire.client()?;
        let mut events = StationEvents::Own(client.events().await?);
        let wrong = Network { password: Secret::new("wrong"), ..wire.network() };
        let id = client.add(&wrong).await?;
        client.enable(id).await?;
        let seen = until(&mut events, |e| *e == Event::EapFailed).await?;
        assert!(!seen.iter().any(|e| matches!(e, Event::BadCertificate { .. })), "{seen:?}");
        client.set(id, &wire.network()).await?;
        // hostapd throws out whom it refused a little later, and whoever asked meanwhile.
        wire.switch.hostapd.says("EAP: Server state machine removed", LIMIT).await?;
        client.reassociate().await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        Ok(())
    });
}

/// Lets a server be met that is not as expected; returns what is wrong with its certificate.
async fn fault(
    lab: &Lab,
    certificate: Certificate,
    change: impl FnOnce(&mut Network),
) -> Result<CertificateFault> {
    let wire = Wire::build(lab, certificate).await?;
    let client = wire.client()?;
    let mut events = StationEvents::Own(client.events().await?);
    let mut network = wire.network();
    change(&mut network);
    let id = client.add(&network).await?;
    client.enable(id).await?;
    let seen = until(&mut events, |e| *e == Event::EapFailed).await?;
    assert!(!client.status().await?.authorized);
    let fault = seen.iter().find_map(|event| match event {
        Event::BadCertificate { fault, .. } => Some(*fault),
        _ => None,
    });
    fault.with_context(|| format!("{seen:?}"))
}

#[test]
fn a_server_of_another_authority_is_told_nothing() {
    lab(|lab| async move {
        let other = tempfile::tempdir()?;
        let ca = certificates(&other, "Another", Certificate::Good)?;
        let found = fault(&lab, Certificate::Good, |n| n.authority = Authority::Pem(ca)).await?;
        assert_eq!(found, CertificateFault::Untrusted);
        // One by the same name and with another key: wpa_supplicant has no word for that.
        let ca = certificates(&other, OURS, Certificate::Good)?;
        let found = fault(&lab, Certificate::Good, |n| n.authority = Authority::Pem(ca)).await?;
        assert_eq!(found, CertificateFault::Other);
        let log = std::fs::read_to_string(lab.folder().join("hostapd.log"))?;
        ensure!(!log.contains("u7@example.net"), "the server learned a name");
        Ok(())
    });
}

#[test]
fn a_server_of_another_name_is_told_nothing() {
    lab(|lab| async move {
        let name = "ple.net".to_owned();
        let found = fault(&lab, Certificate::Good, |n| n.server_name = name).await?;
        assert_eq!(found, CertificateFault::Name);
        Ok(())
    });
}

#[test]
fn a_certificate_out_of_its_time_is_told_from_a_foreign_one() {
    lab(|lab| async move {
        let found = fault(&lab, Certificate::Expired, |_| {}).await?;
        assert_eq!(found, CertificateFault::Expired);
        Ok(())
    });
}

#[test]
fn a_clock_that_is_slow_shows_in_the_certificate() {
    lab(|lab| async move {
        let found = fault(&lab, Certificate::Early, |_| {}).await?;
        assert_eq!(found, CertificateFault::NotYetValid);
        Ok(())
    });
}

#[test]
fn ours_are_known_again_among_many_and_whatever_their_names() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let client = wire.client()?;
        let foreign =
            homeward_ctrl::Control::interface(&wire.socket(), &wire.switch.dir.path().join("f"))?;
        let add = homeward_ctrl::Command::new("ADD_NETWORK", "");
        let mut ours = Vec::new();
        let mut names = Vec::new();
        for n in 0..100u8 {
            foreign.request(&add, LIMIT).await?;
            // As many octets in print as a name can have.
            let mut name = [b'"', b'\n', 0x1f, 0xff, b'\t', b'='].repeat(5);
            name.push(n);
            let ssid = name.as_slice().try_into()?;
            let network = Network { medium: Medium::Wireless(ssid), ..wire.network() };
            ours.push(client.add(&network).await?);
            names.push(Some(ssid));
        }
        let again = wire.client()?;
        assert_eq!(again.own_networks().await?, ours);
        let listed = again.networks().await?;
        assert_eq!(listed.len(), 200);
        let found: Vec<_> =
            listed.iter().filter(|l| ours.contains(&l.id)).map(|l| l.ssid).collect();
        assert_eq!(found, names);
        assert!(listed.iter().all(|l| !l.enabled && !l.current));
        for id in ours {
            again.remove(id).await?;
        }
        assert_eq!(again.own_networks().await?, []);
        let left: Vec<_> = std::fs::read_dir(wire.switch.dir.path().join("run"))?.collect();
        assert!(left.len() <= 2, "certificates are left behind: {left:?}");
        Ok(())
    });
}

#[test]
fn a_supplicant_that_was_restarted_has_forgotten_and_says_so() {
    lab(|lab| async move {
        let mut wire = Wire::build(&lab, Certificate::Good).await?;
        let client = wire.client()?;
        let mut events = StationEvents::Own(client.events().await?);
        client.add(&wire.network()).await?;
        wire.supplicant.stop(LIMIT).await?;
        until(&mut events, |e| *e == Event::Terminating).await?;
        assert!(client.ping().await.unwrap_err().is_gone());
        assert!(events.check(LIMIT).await.unwrap_err().is_gone());
        wire.supplicant.restart()?;
        let socket = wire.socket();
        wire.supplicant.makes(&socket, LIMIT).await?;
        // The socket's file is there before it is listened to, at most a moment.
        let mut events = StationEvents::Own(client.events().await?);
        assert_eq!(client.own_networks().await?, []);
        let id = client.add(&wire.network()).await?;
        client.select(id).await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        Ok(())
    });
}
