//! What a client answers to a challenge.

use subtle::ConstantTimeEq;

use crate::algorithm::Algorithm;
use crate::hex;

/// The longest value of an `Authorization` header that is read, in octets.
pub const MAX_LENGTH: usize = 4096;

/// What is no credentials, or none that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no credentials that are taken: {0} is wrong or missing")]
pub struct Malformed(&'static str);

/// The value of an `Authorization` or `Proxy-Authorization` header (RFC 7616 section 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who it says that it is.
    pub username: &'a str,
    /// Where the password is good.
    pub realm: &'a str,
    /// Of the challenge that it answers.
    pub nonce: &'a str,
    /// What it asks for.
    pub uri: &'a str,
    /// By what it hashed.
    pub algorithm: Algorithm,
    /// How often it has used the nonce, this time included.
    pub count: u32,
    count_text: &'a str,
    cnonce: &'a str,
    response: &'a str,
}

/// A token of HTTP (RFC 9110 section 5.6.2).
fn token(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(good)
}

/// A parameter: `name=token` or `name="text"`. Gives what follows the comma behind it.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (name, rest) = (name.trim_end(), rest.trim_start());
    let (value, rest) = match rest.strip_prefix('"') {
        // Nothing that is ours has a backslash in it: what has, is not read in two ways.
        Some(quoted) => quoted.split_once('"').filter(|(value, _)| !value.contains('\\'))?,
        None => {
            let (value, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            (Some(value.trim_end()).filter(|value| token(value))?, rest)
        }
    };
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix(',') {
        Some(more) => more.trim_start(),
        None if rest.is_empty() => "",
        None => return None,
    };
    token(name).then_some((name, value, rest))
}

impl<'a> Credentials<'a> {
    /// Reads them. What is said twice, what is hashed in another way (`-sess`, `auth-int`,
    /// `userhash`, without `qop`), and what has a backslash in it is not taken.
    ///
    /// # Errors
    /// What is wrong or missing.
    pub fn read(text: &'a str) -> Result<Self, Malformed> {
        const NAMES: [&str; 10] = [
            "username",
            "realm",
            "nonce",
            "uri",
            "response",
            "cnonce",
            "nc",
            "qop",
            "algorithm",
            "userhash",
        ];
        if text.len() > MAX_LENGTH {
            return Err(Malformed("the length"));
        }
        let (scheme, mut rest) = text.trim().split_once(' ').ok_or(Malformed("the scheme"))?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(Malformed("the scheme"));
        }
        rest = rest.trim_start();
        let mut found: [Option<&'a str>; NAMES.len()] = [None; NAMES.len()];
        while !rest.is_empty() {
            let (name, value, more) = parameter(rest).ok_or(Malformed("a parameter"))?;
            rest = more;
            let known =
                NAMES.iter().zip(&mut found).find(|(own, _)| own.eq_ignore_ascii_case(name));
            let Some((own, place)) = known else { continue };
            if place.replace(value).is_some() {
                return Err(Malformed(own));
            }
        }
        let [username, realm, nonce, uri, response, cnonce, count, qop, algorithm, userhash] =
            found;
        let algorithm = match algorithm {
            None => Algorithm::Md5,
            Some(name) => Algorithm::named(name).ok_or(Malformed("algorithm"))?,
        };
        if !qop.is_some_and(|qop| qop.eq_ignore_ascii_case("auth")) {
            return Err(Malformed("qop"));
        }
        if userhash.is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
            return Err(Malformed("userhash"));
        }
        let count_text = count.ok_or(Malformed("nc"))?;
        let counted = hex::octets(count_text).map(u32::from_be_bytes);
        let response = response.filter(|r| r.len() == algorithm.digits());
        Ok(Self {
            username: username.ok_or(Malformed("username"))?,
            realm: realm.ok_or(Malformed("realm"))?,
            nonce: nonce.ok_or(Malformed("nonce"))?,
            uri: uri.ok_or(Malformed("uri"))?,
            algorithm,
            count: counted.ok_or(Malformed("nc"))?,
            count_text,
            cnonce: cnonce.ok_or(Malformed("cnonce"))?,
            response: response.ok_or(Malformed("response"))?,
        })
    }

    /// Whether who made them knows that password, and means a request of that method. Compared in
    /// constant time.
    pub fn answer(&self, method: &str, password: &str) -> bool {
        let of = |parts: &[&str]| self.algorithm.hash(parts);
        let who = of(&[self.username, self.realm, password]);
        let what = of(&[method, self.uri]);
        let right = of(&[&who, self.nonce, self.count_text, self.cnonce, "auth", &what]);
        right.as_bytes().ct_eq(self.response.to_ascii_lowercase().as_bytes()).into()
    }
}
