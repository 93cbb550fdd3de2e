//! Short messages: a line of text for the request, a line for the answer.
//!
//! ```text
//! HW1 C [#<nonce>] <imsi> <imei or -> <mac> [<previous>]
//! HW1 A [#<nonce>] <user name> <password> <expires> <renew from> <marks> <digest> <policy>
//! HW1 R [#<nonce>]
//! ```
//!
//! The answer has the [`Nonce`] of its request, if that had one ([`with_nonce`], [`nonce`]).
//!
//! # The alphabet
//!
//! A short message goes through hands that each have a view of what an octet means: data_coding 0
//! of SMPP is "the SMSC's default alphabet", which some take for GSM 03.38 (3GPP TS 23.038 6.2.1)
//! and some for ASCII. In the first, `@` is 0 and `_` is 0x11, in the second they are 0x40 and
//! 0x5f, and what is 0x40 in the first is `¡`. 8-bit data survive, but hold 140 octets a segment
//! in place of 160 and are dropped by some firewalls, and UCS2 holds 70.
//!
//! So the text has only characters that are the same octet in GSM 03.38, in ASCII and in Latin-1:
//! letters, digits, space and some signs ([`is_safe`]). `*` stands for `@`, which every user name
//! has, and `=` and two hex digits for any other octet of UTF-8. It goes as data_coding 0, at 160
//! characters a segment, and whoever converts it in whichever direction changes nothing. What
//! comes in is taken in every coding, for a modem and an SMSC may each have chosen another.
//!
//! # The policy
//!
//! The answer has all of it but the certificate of the authority, which would fill ten segments:
//! in its place stands the mark `c`, and a device that does not have the certificate from before
//! (by [`Digest`], or set up by hand) must not log on without it.

mod digest;
mod nonce;
mod policy;
mod reassembly;
mod segment;
mod text;

use homeward_model::{Imei, Imsi, Nai, Secret, UnixTime};
use zeroize::Zeroizing;

use super::{CredentialAnswer, CredentialRequest, Invalid, Refused, form};
pub use digest::Digest;
pub use nonce::Nonce;
pub use reassembly::{Full, Reassembly, Settings};
pub use segment::{Concatenation, DATA_CODING, MAX_PARTS, Part, Reference, Segment, split};
pub use text::is_safe;

/// What every message of ours begins with.
const KEYWORD: &str = "HW1";

/// The longest text that is looked at: what fits into as many segments as one may have.
const MAX_TEXT: usize = 8192;

/// What a portal replies by short message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmsReply {
    /// Here you are.
    Credentials(Box<SmsAnswer>),
    /// No.
    Refused,
}

/// Credentials that came by short message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsAnswer {
    /// The credentials. Their times are of whole seconds, and their policy has no authority.
    pub answer: CredentialAnswer,
    /// Which policy it is, with its authority.
    pub digest: Digest,
    /// Whether the policy has an authority, which is to be had otherwise.
    pub has_ca: bool,
}

/// Puts a nonce into a text that [`encode_request`], [`encode_answer`] or [`encode_refused`] wrote.
pub fn with_nonce(text: Zeroizing<String>, nonce: Option<Nonce>) -> Zeroizing<String> {
    let kind = text.match_indices(' ').nth(1).map_or(text.len(), |(at, _)| at);
    let Some((nonce, (head, rest))) = nonce.zip(text.split_at_checked(kind)) else { return text };
    Zeroizing::new(format!("{head} {nonce}{rest}"))
}

/// The nonce of a text, if that is a message of ours and has one. What else is in it may be wrong.
pub fn nonce(text: &str) -> Option<Nonce> {
    let mut words = text.split_ascii_whitespace();
    let keyword = words.next()?;
    let _kind = words.next()?;
    words.next().filter(|_| keyword.eq_ignore_ascii_case(KEYWORD))?.parse().ok()
}

/// Reads a request's text. Letters of either case will do, for people type it, too.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_request(text: &str) -> Result<CredentialRequest, Invalid> {
    let mut words = Words::of(text, "C")?;
    let said = |at: &str, error: &dyn std::error::Error| Invalid::new(at, error.to_string());
    let imsi = words.next("imsi")?.parse::<Imsi>().map_err(|error| said("imsi", &error))?;
    let imei = match words.next("imei")? {
        "-" => None,
        text => Some(text.parse::<Imei>().map_err(|error| said("imei", &error))?),
    };
    let mac = form::station(words.next("mac")?);
    let mac = mac
        .ok_or_else(|| Invalid::new("mac", "give a station's MAC address, such as 02005e100001"))?;
    let previous = match words.maybe() {
        Some(word) => Some(nai("previous", word)?),
        None => None,
    };
    words.finish()?;
    Ok(CredentialRequest { imsi, imei, mac, previous, handoff: false })
}

/// Writes a request's text. Without a previous name it fits into one segment.
pub fn encode_request(request: &CredentialRequest) -> Zeroizing<String> {
    // No key goes by a way that others read.
    let CredentialRequest { imsi, imei, mac, previous, handoff: _ } = request;
    let mac = data_encoding::HEXLOWER.encode(&mac.octets());
    let imei = imei.as_ref().map_or("-", |imei| imei.as_str());
    let mut out = Zeroizing::new(format!("{KEYWORD} C {} {imei} {mac}", imsi.as_str()));
    if let Some(previous) = previous {
        out.push(' ');
        text::push_escaped(&mut out, previous.as_str());
    }
    out
}

/// Reads a reply's text.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_reply(text: &str) -> Result<SmsReply, Invalid> {
    if Words::of(text, "R").and_then(Words::finish).is_ok() {
        return Ok(SmsReply::Refused);
    }
    let mut words = Words::of(text, "A")?;
    let username = nai("username", words.next("username")?)?;
    let password = text::unescape(words.next("password")?).filter(|text| !text.is_empty());
    let password = password.ok_or_else(|| Invalid::new("password", "is no text"))?;
    let password = Secret::new(password.as_bytes());
    let expires = moment("expires", words.next("expires")?)?;
    let renew_from = moment("renew_from", words.next("renew_from")?)?;
    let marks = words.next("marks")?;
    let one_time = marks.contains('o');
    let has_ca = marks.contains('c');
    let digest = words.next("digest")?.parse()?;
    let policy = form::check(policy::read(&mut words)?)?;
    // Nothing is signed here; this finds what was put together of two messages, or cut.
    if !has_ca && Digest::of(&policy) != digest {
        return Err(Invalid::new("digest", "is not that of the policy: ask again"));
    }
    let handoff = None;
    let answer =
        CredentialAnswer { username, password, expires, renew_from, one_time, policy, handoff };
    Ok(SmsReply::Credentials(Box::new(SmsAnswer { answer, digest, has_ca })))
}

/// Writes credentials as text. The moments are cut to whole seconds.
///
/// # Errors
///
/// If the password is no text.
pub fn encode_answer(answer: &CredentialAnswer) -> Result<Zeroizing<String>, Invalid> {
    let CredentialAnswer { username, password, expires, renew_from, one_time, policy, handoff: _ } =
        answer;
    let password = std::str::from_utf8(password.expose()).ok().filter(|text| !text.is_empty());
    let password = password.ok_or_else(|| Invalid::new("password", "is no text: make another"))?;
    let mut out = Zeroizing::new(String::with_capacity(MAX_TEXT));
    out.push_str(KEYWORD);
    out.push_str(" A ");
    text::push_escaped(&mut out, username.as_str());
    out.push(' ');
    text::push_escaped(&mut out, password);
    for time in [expires, renew_from] {
        out.push(' ');
        push_moment(&mut out, *time);
    }
    let marks = match (*one_time, policy.ca.is_some()) {
        (false, false) => "-",
        (true, false) => "o",
        (false, true) => "c",
        (true, true) => "oc",
    };
    out.push(' ');
    out.push_str(marks);
    out.push(' ');
    out.push_str(&Digest::of(policy).to_string());
    policy::push(&mut out, policy);
    Ok(out)
}

/// Writes the refusal.
pub fn encode_refused(Refused: Refused) -> String {
    format!("{KEYWORD} R")
}

fn nai(at: &str, word: &str) -> Result<Nai, Invalid> {
    let text = text::unescape(word).ok_or_else(|| Invalid::new(at, "is no text"))?;
    text.parse()
        .map_err(|error: homeward_model::login::NaiError| Invalid::new(at, error.to_string()))
}

/// A moment as seconds since 1970 in base 36, `-` for none.
fn push_moment(out: &mut String, time: Option<UnixTime>) {
    let Some(time) = time else { return out.push('-') };
    let mut rest = u64::try_from(time.seconds()).unwrap_or_default();
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(rest % 36).ok().and_then(|digit| char::from_digit(digit, 36));
        digits.extend(digit);
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().rev());
}

fn moment(at: &str, word: &str) -> Result<Option<UnixTime>, Invalid> {
    if word == "-" {
        return Ok(None);
    }
    let plain = word.len() <= 11 && word.bytes().all(|c| c.is_ascii_alphanumeric());
    let seconds = Some(word).filter(|_| plain).and_then(|word| i64::from_str_radix(word, 36).ok());
    let time = seconds.and_then(|seconds| seconds.checked_mul(1000)).map(UnixTime);
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(Invalid::new(at, "give seconds since 1970 in base 36, or -")),
    }
}

/// The words of a message.
struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    /// The words after the keyword, the kind and the nonce.
    fn of(text: &'a str, kind: &str) -> Result<Self, Invalid> {
        let len = text.len();
        if len > MAX_TEXT {
            return Err(Invalid::new("the message", format!("{len} octets; {MAX_TEXT} at most")));
        }
        let mut words = text.split_ascii_whitespace();
        let given = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !given.0.eq_ignore_ascii_case(KEYWORD) || !given.1.eq_ignore_ascii_case(kind) {
            let what = format!("begins with neither: give {KEYWORD} {kind} first");
            return Err(Invalid::new("the message", what));
        }
        let mut ahead = words.clone();
        if let Some(word) = ahead.next().filter(|word| Nonce::is_meant(word)) {
            word.parse::<Nonce>()?;
            words = ahead;
        }
        Ok(Self(words))
    }

    fn maybe(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn next(&mut self, name: &str) -> Result<&'a str, Invalid> {
        self.0.next().ok_or_else(|| Invalid::new(name, "is missing: give it"))
    }

    fn finish(mut self) -> Result<(), Invalid> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(Invalid::new("the message", "has words too many: leave them out")),
        }
    }
}
