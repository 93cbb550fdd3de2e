//! The `[portal.sms]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext, Invalid, Period, SecretSource};
use homeward_model::{Seconds, Secret};
use homeward_offload::issuing;
use homeward_offload::wire::sms::Settings as Segments;
use homeward_smsc::{Address, Error, Settings, Tls};
use serde::Deserialize;

/// `[portal.sms]`: credentials by short message, through an SMSC (SMPP 3.4).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SMSC: a host or an address, and a port. Unset: there are none.
    pub smsc: Option<String>,
    /// As whom we bind: at most 15 octets.
    pub system_id: String,
    /// The password: at most 8 octets.
    pub password: Option<SecretSource>,
    /// The kind of system, where the SMSC wants one.
    pub system_type: String,
    /// Which addresses are ours, where the SMSC wants to be told.
    pub address_range: String,
    /// Who vouches for the SMSC's certificate, in PEM. Unset: no TLS.
    pub ca: Option<PathBuf>,
    /// The name in its certificate; unset: the host of `smsc`.
    pub tls_name: Option<String>,

    /// From whom answers come: a short code, a number with `+`, or letters. Unset: from where the
    /// request went to.
    pub address: Option<String>,
    /// Type of that number (SMPP 3.4, 5.2.5); unset: as it looks.
    pub address_ton: Option<u8>,
    /// Numbering plan of that number (5.2.6); unset: as it looks.
    pub address_npi: Option<u8>,

    /// How long what is issued by message is good, at most.
    pub lifetime: Period,
    /// How many messages of a number are looked at a minute, all at once if it likes. 0: any.
    pub requests_per_minute: u32,
    /// Whether who is refused is told so; only numbers with a live bearer ever are.
    pub refusals: bool,
    /// Whether the SMSC is asked for delivery receipts.
    pub receipts: bool,
    /// How long the SMSC may try to deliver an answer; what expires earlier, until then.
    pub validity: Period,
    /// The most segments of an answer.
    pub answer_segments: u8,

    /// The most segments of a request.
    pub request_segments: u8,
    /// How long after its first segment the last one of a request may come.
    pub segments_timeout: Period,
    /// The most requests that are not whole.
    pub unfinished: usize,
    /// And the most of a number; its oldest gives way.
    pub unfinished_per_number: usize,

    /// How long connecting, TLS and the bind may take.
    pub connect_timeout: Period,
    /// How long the SMSC may take for an answer.
    pub response_timeout: Period,
    /// After how much silence it is asked whether it is there.
    pub enquire_after: Period,
    /// How many answers may be submitted and unanswered.
    pub window: usize,
    /// How many requests may be in hand; the SMSC keeps those beyond.
    pub queue: usize,
    /// How long an answer may wait for the SMSC.
    pub patience: Period,
    /// The first pause after a failure, and after a throttling.
    pub pause: Period,
    /// The longest pause.
    pub longest_pause: Period,
}

impl Default for Config {
    fn default() -> Self {
        let (settings, segments) = (Settings::default(), Segments::default());
        let Seconds(lifetime) = issuing::Settings::default().sms_lifetime;
        Self {
            smsc: None,
            system_id: settings.system_id,
            password: None,
            system_type: settings.system_type,
            address_range: settings.address_range,
            ca: None,
            tls_name: None,
            address: None,
            address_ton: None,
            address_npi: None,
            lifetime: Period(Duration::from_secs(lifetime.into())),
            requests_per_minute: 6,
            refusals: false,
            receipts: true,
            validity: Period(Duration::from_secs(3600)),
            answer_segments: 10,
            request_segments: segments.parts,
            segments_timeout: Period(segments.timeout),
            unfinished: segments.messages,
            unfinished_per_number: segments.per_sender,
            connect_timeout: Period(settings.connect_timeout),
            response_timeout: Period(settings.response_timeout),
            enquire_after: Period(settings.enquire_after),
            window: settings.window,
            queue: settings.queue,
            patience: Period(settings.patience),
            pause: Period(settings.pause),
            longest_pause: Period(settings.longest_pause),
        }
    }
}

/// The most of anything that may be configured.
const MOST: usize = 1 << 20;

fn key(name: &str) -> String {
    format!("portal.sms.{name}")
}

impl Config {
    /// Whether there are credentials by short message.
    pub fn is_on(&self) -> bool {
        self.smsc.is_some()
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = |name: &str, why: &str| Err(Invalid::new(key(name), why));
        if !self.is_on() {
            return Ok(());
        }
        if let Err(Error::Setting { setting, reason }) = self.settings(Secret::new([])).check() {
            return wrong(setting, reason);
        }
        if self.password.is_none() {
            return wrong("password", "say where it is: { file = \"/path\" }");
        }
        if self.tls_name.is_some() && self.ca.is_none() {
            return wrong("ca", "name who vouches for the SMSC's certificate");
        }
        if let Some(text) = &self.address {
            let plain = |c: char| c.is_ascii_graphic();
            if !(1..=20).contains(&text.trim_start_matches('+').len()) || !text.chars().all(plain) {
                return wrong("address", "give a short code, a number with +, or letters");
            }
        } else if self.address_ton.is_some() || self.address_npi.is_some() {
            return wrong("address", "give the address that has this type or plan");
        }
        let day = Duration::from_secs(86_400);
        for (name, period, most) in [
            ("lifetime", self.lifetime, 30 * day),
            ("validity", self.validity, 30 * day),
            ("segments_timeout", self.segments_timeout, day),
            ("connect_timeout", self.connect_timeout, day),
            ("response_timeout", self.response_timeout, day),
            ("enquire_after", self.enquire_after, day),
            ("patience", self.patience, day),
        ] {
            if !(Duration::from_secs(1)..=most).contains(&period.0) {
                return wrong(name, &format!("use 1s to {}d", most.as_secs() / day.as_secs()));
            }
        }
        if self.pause.0.is_zero() || self.longest_pause.0 < self.pause.0 {
            return wrong(
                "longest_pause",
                "use at least as much as portal.sms.pause, and that > 0",
            );
        }
        for (name, number) in [
            ("answer_segments", self.answer_segments.into()),
            ("request_segments", self.request_segments.into()),
            ("unfinished", self.unfinished),
            ("unfinished_per_number", self.unfinished_per_number),
            ("window", self.window),
            ("queue", self.queue),
        ] {
            if !(1..=MOST).contains(&number) {
                return wrong(name, &format!("use 1 to {MOST}"));
            }
        }
        Ok(())
    }

    fn settings(&self, password: Secret) -> Settings {
        Settings {
            smsc: self.smsc.clone().unwrap_or_default(),
            tls: None,
            system_id: self.system_id.clone(),
            password,
            system_type: self.system_type.clone(),
            address_range: self.address_range.clone(),
            connect_timeout: self.connect_timeout.0,
            response_timeout: self.response_timeout.0,
            enquire_after: self.enquire_after.0,
            window: self.window,
            queue: self.queue,
            patience: self.patience.0,
            pause: self.pause.0,
            longest_pause: self.longest_pause.0,
        }
    }

    /// What a session is told, with the password and the authority as they are in their files now.
    pub(super) fn read(&self) -> anyhow::Result<Settings> {
        let none = || anyhow::anyhow!("portal.sms.password is missing");
        let password = self.password.as_ref().ok_or_else(none).exit(Exit::Config)?.read();
        let password = password.context("portal.sms.password").exit(Exit::Config)?;
        let mut settings = self.settings(password);
        if let Some(ca) = &self.ca {
            let host = settings.smsc.rsplit_once(':').map_or("", |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = self.tls_name.as_deref().unwrap_or(host);
            settings.tls = Some(Tls::new(ca, name).context("portal.sms").exit(Exit::Config)?);
        }
        settings.check().context("portal.sms").exit(Exit::Config)?;
        Ok(settings)
    }

    pub(super) fn segments(&self) -> Segments {
        Segments {
            timeout: self.segments_timeout.0,
            parts: self.request_segments,
            per_sender: self.unfinished_per_number,
            messages: self.unfinished,
        }
    }

    /// What the operator sets of issuing.
    pub(crate) fn issuing(&self) -> issuing::Settings {
        let lifetime = u32::try_from(self.lifetime.0.as_secs()).unwrap_or(u32::MAX);
        issuing::Settings { sms_lifetime: Seconds(lifetime) }
    }

    /// From whom answers come, if that is said.
    pub(super) fn own(&self) -> Option<Address> {
        let text = self.address.as_ref()?;
        let (ton, npi, number) = match text.strip_prefix('+') {
            Some(number) => (1, 1, number),
            None if text.bytes().all(|c| c.is_ascii_digit()) => (0, 0, text.as_str()),
            None => (5, 0, text.as_str()),
        };
        Some(Address {
            ton: self.address_ton.unwrap_or(ton),
            npi: self.address_npi.unwrap_or(npi),
            number: number.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> Config {
        Config {
            smsc: Some("smsc.example.net:2775".to_owned()),
            system_id: "homeward".to_owned(),
            password: Some(SecretSource::Env("SMSC".to_owned())),
            ..Config::default()
        }
    }

    #[test]
    fn the_defaults_are_allowed_and_bind_to_nothing() {
        Config::default().check().unwrap();
        assert!(!Config::default().is_on());
        on().check().unwrap();
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let wrong = |change: fn(&mut Config)| {
            let mut config = on();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            error.split(':').next().unwrap().trim_start_matches("portal.sms.").to_owned()
        };
        assert_eq!(wrong(|c| c.smsc = Some("smsc".to_owned())), "smsc");
        assert_eq!(wrong(|c| c.system_id.clear()), "system_id");
        assert_eq!(wrong(|c| c.password = None), "password");
        assert_eq!(wrong(|c| c.tls_name = Some("smsc".to_owned())), "ca");
        assert_eq!(wrong(|c| c.address = Some("+".to_owned())), "address");
        assert_eq!(wrong(|c| c.address = Some("4 4".to_owned())), "address");
        assert_eq!(wrong(|c| c.address_ton = Some(3)), "address");
        assert_eq!(wrong(|c| c.lifetime = Period::default()), "lifetime");
        assert_eq!(wrong(|c| c.validity = Period(Duration::from_secs(1 << 40))), "validity");
        assert_eq!(wrong(|c| c.longest_pause = Period::default()), "longest_pause");
        assert_eq!(wrong(|c| c.pause = Period::default()), "longest_pause");
        assert_eq!(wrong(|c| c.answer_segments = 0), "answer_segments");
        assert_eq!(wrong(|c| c.queue = usize::MAX), "queue");
    }

    #[test]
    fn an_address_is_of_the_type_that_it_looks_like_unless_it_is_said() {
        let own = |text: &str, ton| {
            let config = Config { address: Some(text.to_owned()), address_ton: ton, ..on() };
            config.check().unwrap();
            let own = config.own().unwrap();
            (own.ton, own.npi, own.number)
        };
        assert_eq!(own("4444", None), (0, 0, "4444".to_owned()));
        assert_eq!(own("4444", Some(3)), (3, 0, "4444".to_owned()));
        assert_eq!(own("+491701234567", None), (1, 1, "491701234567".to_owned()));
        assert_eq!(own("Example", None), (5, 0, "Example".to_owned()));
        assert!(on().own().is_none());
    }
}
