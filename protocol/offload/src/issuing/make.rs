//! Names and passwords.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use homeward_model::{Entropy, Mac, Seconds, Secret, UnixTime, Uses};
use zeroize::{Zeroize, Zeroizing};

use super::Issue;
use crate::wire::CredentialAnswer;

/// Random octets of a user name: 80 bits, 16 characters. It says nothing of whose it is.
pub const USER_LEN: usize = 10;

/// Random octets of a password: 128 bits, 26 characters.
pub const PASSWORD_LEN: usize = 16;

/// The realm of the user names: at most 200 octets, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm(String);

/// A text that is no realm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no realm: give labels of letters, digits and hyphens with dots between them, such as wifi.example.net, at most 200 octets"
)]
pub struct RealmError(String);

impl Realm {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Realm {
    type Err = RealmError;

    fn from_str(text: &str) -> Result<Self, RealmError> {
        let label = |label: &str| {
            let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
            let ends = !label.starts_with('-') && !label.ends_with('-');
            (1..=63).contains(&label.len()) && label.bytes().all(good) && ends
        };
        let good = text.len() <= 200 && text.contains('.') && text.split('.').all(label);
        if good { Ok(Self(text.to_ascii_lowercase())) } else { Err(RealmError(text.to_owned())) }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Credentials that were made, to be stored before anybody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What the device is told.
    pub answer: CredentialAnswer,
    /// The one station that may use them; `None`: any.
    pub mac: Option<Mac>,
    /// How often they may be used.
    pub uses: Uses,
}

impl Issue<'_> {
    /// Makes the credentials. The password is text of 26 characters, for [`Verifier::Password`].
    ///
    /// [`Verifier::Password`]: homeward_model::Verifier::Password
    ///
    /// # Errors
    ///
    /// None with a [`Realm`]; the name's own check is passed on all the same.
    pub fn make(
        &self,
        realm: &Realm,
        entropy: &mut impl Entropy,
        now: UnixTime,
    ) -> Result<Made, homeward_model::login::NaiError> {
        let user = text(&entropy.octets::<USER_LEN>());
        let username = format!("{}@{realm}", user.as_str()).parse()?;
        let mut random = entropy.octets::<PASSWORD_LEN>();
        let password = Secret::new(text(&random).as_bytes());
        random.zeroize();
        let ms = |Seconds(seconds): Seconds| i64::from(seconds) * 1000;
        let expires = self.terms.lifetime.map(|span| UnixTime(now.0.saturating_add(ms(span))));
        // A window as long as the lifetime would have the device ask for ever; that of a short
        // message can be so.
        let window = Some(self.terms.renewal_window).filter(|w| Some(*w) < self.terms.lifetime);
        let renew_from = expires.zip(window).map(|(at, w)| UnixTime(at.0.saturating_sub(ms(w))));
        let one_time = self.terms.one_time;
        let uses = if one_time { Uses::Once } else { Uses::Any };
        let policy = self.policy.wlan.clone();
        let handoff = None;
        let answer =
            CredentialAnswer { username, password, expires, renew_from, one_time, policy, handoff };
        Ok(Made { answer, mac: self.terms.bind_mac.then_some(self.mac), uses })
    }
}

/// Octets as lower-case letters and digits.
fn text(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(BASE32_NOPAD.encode(octets));
    text.make_ascii_lowercase();
    text
}
