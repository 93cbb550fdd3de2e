//! A radio whose hostapd and core do as the test says.

use std::time::Duration;

use homeward_model::{
    DeviceKey, Grant, Instant, Mac, NetworkId, Passphrase, Psk, Refusal, RefusalReason, Rssi,
    Security, ServiceTerms, Ssid,
};
use homeward_vap::{Action, Answer, Bss, Event, LookupId, Radio, Settings, Status, VapId};

pub(crate) fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

pub(crate) fn ssid(name: &str) -> Ssid {
    name.parse().expect("an SSID")
}

pub(crate) fn key(n: u8) -> DeviceKey {
    let passphrase: Passphrase = "correct horse".parse().expect("a passphrase");
    DeviceKey::Passphrase { passphrase, psk: Psk::new([n; 32]) }
}

/// Network 1 is called `elm`, 2 `oak`, 3 `elm` again, any other `net` and its number.
pub(crate) fn name(network: u8) -> Ssid {
    match network {
        1 | 3 => ssid("elm"),
        2 => ssid("oak"),
        n => ssid(&format!("net{n}")),
    }
}

/// The grant for a device of a network, with a key of its own.
pub(crate) fn grant(network: u8, device: u8) -> Grant {
    Grant {
        network: NetworkId(network.into()),
        ssid: name(network),
        security: Security::Wpa2Psk,
        key: key(device),
        terms: ServiceTerms::default(),
        at_home: false,
        class: Vec::new(),
    }
}

pub(crate) fn granted(network: u8, device: u8) -> Answer {
    Answer::Granted(grant(network, device))
}

pub(crate) fn refused(reason: RefusalReason) -> Answer {
    Answer::Refused(Refusal { reason, message: format!("{reason}: ask your operator") })
}

pub(crate) struct Lab {
    pub(crate) radio: Radio,
    pub(crate) now: Instant,
}

impl Lab {
    /// With hostapd ready and nothing else.
    pub(crate) fn new(settings: Settings) -> Self {
        let mut lab = Self { radio: Radio::new(settings), now: Instant::ORIGIN };
        lab.after_ms(1000);
        lab.radio.handle_hostapd_ready(lab.now);
        lab
    }

    pub(crate) fn after_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// Lets time pass, waking the machine whenever it wants to be woken.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.radio.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.radio.handle_timeout(self.now);
            let next = self.radio.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it would be woken for ever");
        }
        self.now = end;
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    pub(crate) fn probe(&mut self, device: u8, name: Ssid) {
        self.radio.handle_probe(mac(device), name, Some(Rssi(-50)), self.now);
    }

    pub(crate) fn answer(&mut self, id: LookupId, answer: Answer) {
        self.radio.handle_answer(id, answer, self.now);
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.radio.poll_action()).collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.radio.poll_event()).collect()
    }

    pub(crate) fn status(&self) -> Status {
        self.radio.status(self.now)
    }

    /// The one action there is, which must be a look-up.
    pub(crate) fn look_up(&mut self) -> LookupId {
        match self.actions().as_slice() {
            [Action::LookUp { id, .. }] => *id,
            other => panic!("not one look-up: {other:?}"),
        }
    }

    /// The one action there is, which must be an ADD.
    pub(crate) fn add(&mut self) -> VapId {
        match self.actions().as_slice() {
            [Action::AddBss { vap, .. }] => *vap,
            other => panic!("not one ADD: {other:?}"),
        }
    }

    /// A device probes, is granted, and its network's VAP is up with it.
    pub(crate) fn serve(&mut self, network: u8, device: u8) -> VapId {
        self.probe(device, name(network));
        let id = self.look_up();
        self.answer(id, granted(network, device));
        match self.actions().as_slice() {
            [Action::AddBss { vap, .. }] => {
                self.radio.handle_bss_added(*vap, Ok(()), self.now);
                *vap
            }
            [Action::SetDevices { vap, .. }] => {
                self.radio.handle_devices_set(*vap, Ok(()), self.now);
                *vap
            }
            other => panic!("neither ADD nor SET: {other:?}"),
        }
    }

    /// As [`Lab::serve`], and the device connects.
    pub(crate) fn connect(&mut self, network: u8, device: u8) -> VapId {
        let vap = self.serve(network, device);
        self.radio.handle_connected(vap, mac(device), self.now);
        assert_eq!(self.actions(), []);
        vap
    }
}

pub(crate) fn out(bss: impl Into<Bss>, device: u8) -> Action {
    Action::Deauthenticate { bss: bss.into(), mac: mac(device) }
}
