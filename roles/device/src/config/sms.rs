//! `[portal.sms]`: asking by short message where the portal cannot be reached over a bearer.

use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_daemon::config::Invalid;
use homeward_modem::Number;
use homeward_offload::manager::settings::Messages;
use serde::Deserialize;

use super::Modem;
use crate::portal;

const DAY: Duration = Duration::from_secs(86_400);

/// The portal by short message. Each costs money, and what one brings is good for one log-on and
/// not for long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sms {
    /// The number to ask; answers must come from it. Unset: it is not asked so.
    pub number: Option<Number>,
    /// The authority that access points' servers must be of, where the operator's policy has one
    /// of its own, in PEM: it is too long for a message. Not needed where the policy came over a
    /// bearer before, and not used where it has none.
    pub ca: Option<PathBuf>,
    /// For how long the portal has to be out of reach first.
    pub after: Period,
    /// How long an answer may take.
    pub answer: Period,
    /// The most messages in any 24 hours.
    pub per_day: u16,
    /// The wait after a message; it doubles up to `retry_most` until what one brought is used.
    pub retry: Period,
    /// The longest wait after a message.
    pub retry_most: Period,
}

impl Default for Sms {
    fn default() -> Self {
        let Messages { after, answer, per_day, retry, retry_most, .. } =
            Messages::at(String::new());
        Self {
            number: None,
            ca: None,
            after: Period(after),
            answer: Period(answer),
            per_day,
            retry: Period(retry),
            retry_most: Period(retry_most),
        }
    }
}

impl Sms {
    /// Checks what its types do not say.
    ///
    /// # Errors
    ///
    /// Names the first key that is wrong.
    pub(super) fn check(&self, modem: &Modem) -> Result<(), Invalid> {
        let wrong = |key: &str, what: &str| Err(Invalid::new(format!("portal.sms.{key}"), what));
        if self.number.is_none() {
            return match *self == Self::default() {
                true => Ok(()),
                false => {
                    wrong("number", "is missing: whom to ask? Without it the others do nothing")
                }
            };
        }
        if modem.imsi.is_some() {
            let what = "messages go by ModemManager, but modem.imsi says that there is none: \
                        leave out one of the two";
            return wrong("number", what);
        }
        for (key, Period(span)) in
            [("answer", self.answer), ("retry", self.retry), ("retry_most", self.retry_most)]
        {
            if !(Duration::from_secs(1)..=7 * DAY).contains(&span) {
                return wrong(key, "give 1s to 7d");
            }
        }
        if self.retry_most < self.retry {
            return wrong("retry_most", "give portal.sms.retry or more");
        }
        if self.after.0 > 7 * DAY {
            return wrong("after", "give 7d or less");
        }
        if self.per_day == 0 {
            return wrong("per_day", "give 1 or more, or leave out portal.sms.number");
        }
        Ok(())
    }

    /// What the machine is told; `None`: the portal is not asked so.
    ///
    /// # Errors
    ///
    /// The file of authorities cannot be read, or has none in it.
    pub(crate) fn messages(&self) -> anyhow::Result<Option<Messages>> {
        let Some(number) = &self.number else { return Ok(None) };
        let ca = match &self.ca {
            Some(path) => Some(portal::pem("portal.sms.ca", path)?),
            None => None,
        };
        Ok(Some(Messages {
            ca,
            after: self.after.0,
            answer: self.answer.0,
            per_day: self.per_day,
            retry: self.retry.0,
            retry_most: self.retry_most.0,
            ..Messages::at(number.as_str().to_owned())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, config};

    fn parse(text: &str) -> Result<Sms, String> {
        let text = format!(
            "[portal]\nurl = \"https://portal.example.net/x\"\n[portal.sms]\n{text}\n\
             [check]\nurl = \"http://check.example.net/x\"\n"
        );
        let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
        parsed.map(|config: Config| config.portal.sms).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_enough_and_without_one_nobody_is_asked() {
        assert_eq!(parse("").unwrap().messages().unwrap(), None);
        let sms = parse("number = \"+447700900999\"").unwrap();
        let expected = Messages::at("+447700900999".to_owned());
        assert_eq!(sms.messages().unwrap(), Some(expected));
        let sms = parse("number = \"4444\"\nafter = \"0s\"\nanswer = \"1m\"\nper_day = 3").unwrap();
        let messages = sms.messages().unwrap().unwrap();
        assert_eq!((messages.after, messages.per_day), (Duration::ZERO, 3));
        assert_eq!(messages.answer, Duration::from_secs(60));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let number = "number = \"4444\"\n";
        for (text, key) in [
            ("number = \"4\"", "portal.sms.number"),
            ("number = \"Example\"", "portal.sms.number"),
            ("per_day = 3", "portal.sms.number"),
            ("from = \"4444\"", "portal.sms.from"),
            (&format!("{number}per_day = 0"), "portal.sms.per_day"),
            (&format!("{number}answer = \"100ms\""), "portal.sms.answer"),
            (&format!("{number}retry = \"0s\""), "portal.sms.retry"),
            (&format!("{number}retry_most = \"1m\""), "portal.sms.retry_most"),
            (&format!("{number}after = \"8d\""), "portal.sms.after"),
            (
                &format!("{number}[modem]\nimsi = \"999700123456789\"\ninterface = \"wwan0\""),
                "portal.sms.number",
            ),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(key), "{key}: {said}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let sms =
            Sms { number: Some("4444".parse().unwrap()), ca: Some(file.clone()), ..Sms::default() };
        let said = format!("{:#}", sms.messages().unwrap_err());
        assert!(said.contains("portal.sms.ca"), "{said}");
        std::fs::write(&file, "none").unwrap();
        let said = format!("{:#}", sms.messages().unwrap_err());
        assert!(said.contains("portal.sms.ca"), "{said}");
        let made = rcgen::generate_simple_self_signed(["aaa.example.net".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        assert_eq!(sms.messages().unwrap().unwrap().ca, Some(made.cert.pem()));
    }

    #[test]
    fn the_file_that_ships_names_every_setting_with_its_default() {
        let shipped = include_str!("../../../../packaging/device.toml");
        let (_, after) = shipped.split_once("[portal.sms]\n").unwrap();
        let (table, _) = after.split_once("\n[").unwrap();
        let given: Vec<(&str, &str)> = table
            .lines()
            .filter_map(|line| line.strip_prefix("# ")?.split_once(" = "))
            .filter(|(key, _)| !key.contains(' '))
            .collect();
        let keys: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["number", "ca", "after", "answer", "per_day", "retry", "retry_most"]);
        let text: Vec<String> =
            given.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let sms = parse(&text.join("\n")).unwrap();
        assert_eq!(Sms { number: None, ca: None, ..sms }, Sms::default());
    }
}
