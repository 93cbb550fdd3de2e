//! Log-ins: who asks to be let in by EAP, PAP or CHAP, and the answers.
//!
//! | | EAP (RFC 3579) | PAP (RFC 2865 5.2) | CHAP (RFC 2865 5.3) |
//! |---|---|---|---|
//! | User-Name | outer identity | NAI | NAI |
//! | the proof | EAP-Message, State | User-Password | CHAP-Password, CHAP-Challenge |
//! | Calling-Station-Id | the station, where the NAS tells | the same | the same |
//!
//! An Access-Request with none of these proofs, or whose User-Name is a MAC address, is a
//! [look-up](crate::lookup). A refusal says nothing: a subscriber, or who claims to be one, may
//! read it.

use homeward_model::Mac;
use homeward_model::service::Seconds;

use crate::dictionary::{microsoft, standard};
use crate::hide::{Opener, Password, UnhideError, open_password};
use crate::lookup::parse_mac;
use crate::packet::{MAX_VALUE_LEN, Packet, integer, text};
use crate::{Allowed, Builder, Code, DecodeError, EncodeError, SharedSecret};

/// Octets of a CHAP response (RFC 1994 4.1).
const CHAP_RESPONSE: usize = 16;

/// Who asks to be let in.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// User-Name: with EAP the outer identity, perhaps anonymous.
    pub user_name: &'a str,
    /// What is to prove it.
    pub proof: Proof<'a>,
    /// The station that asks.
    pub station: Option<Mac>,
    /// State of the challenge that this answers.
    pub state: Option<&'a [u8]>,
    /// The longest EAP packet that the NAS passes on.
    pub framed_mtu: Option<u16>,
    /// Whether the NAS asks for a Chargeable-User-Identity (RFC 4372 2.2: by an empty one, or
    /// one of NUL).
    pub wants_cui: bool,
}

/// What is to prove an identity.
pub enum Proof<'a> {
    /// An EAP response; empty, it is EAP-Start.
    Eap(Vec<u8>),
    /// A password.
    Password(Password),
    /// CHAP's answer to a challenge.
    Chap(Chap<'a>),
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Eap(_) => "Eap",
            Self::Password(_) => "Password",
            Self::Chap(_) => "Chap",
        })
    }
}

/// CHAP's answer to a challenge (RFC 1994).
#[derive(Clone, Copy)]
pub struct Chap<'a> {
    identifier: u8,
    challenge: &'a [u8],
    response: &'a [u8; CHAP_RESPONSE],
}

impl Chap<'_> {
    /// Whether it was made with that password; in constant time.
    pub fn is_of(&self, password: &[u8]) -> bool {
        use md5::{Digest, Md5};
        use subtle::ConstantTimeEq;
        let mut md5 = Md5::new_with_prefix([self.identifier]);
        md5.update(password);
        md5.update(self.challenge);
        let right: [u8; CHAP_RESPONSE] = md5.finalize().into();
        right.ct_eq(self.response).into()
    }
}

/// Why a request to be let in cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// An attribute that may occur once occurs again.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No User-Name, or none that is text.
    #[error("User-Name is missing or no UTF-8 text")]
    UserName,
    /// Nothing to prove it with.
    #[error("there is no EAP-Message, User-Password or CHAP-Password")]
    NoProof,
    /// Several proofs.
    #[error("EAP-Message, User-Password and CHAP-Password exclude each other (RFC 3579 3.3)")]
    Proofs,
    /// A hidden password that does not open.
    #[error(transparent)]
    Unhide(#[from] UnhideError),
    /// A CHAP-Password that has not 17 octets.
    #[error("CHAP-Password has 17 octets, an identifier and a response, not {0}")]
    Chap(usize),
    /// A CHAP-Password without its challenge, on RADIUS/1.1, where no authenticator can be it.
    #[error("CHAP-Challenge is missing, and on RADIUS/1.1 nothing stands for it (RFC 9765 5.1.2)")]
    NoChapChallenge,
    /// An answer that does not fit a packet.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Whether an Access-Request is a log-in rather than a look-up.
pub fn is_login(request: &Packet<'_>) -> bool {
    request.code() == Code::AccessRequest
        && (request.find(standard::EAP_MESSAGE).is_some()
            || request.find(standard::CHAP_PASSWORD).is_some()
            || request.find(standard::USER_NAME).is_none_or(|name| parse_mac(name).is_none()))
}

impl<'a> LoginRequest<'a> {
    /// Reads a verified Access-Request.
    ///
    /// # Errors
    /// What is missing, repeated or unreadable.
    pub fn decode<'s>(
        request: &Packet<'a>,
        opener: impl Into<Opener<'s>>,
    ) -> Result<Self, LoginError> {
        let opener = opener.into();
        let name = request.only(standard::USER_NAME)?.and_then(text);
        let eap: Vec<u8> = request.find_all(standard::EAP_MESSAGE).flatten().copied().collect();
        let password = request.only(standard::USER_PASSWORD)?;
        let chap = request.only(standard::CHAP_PASSWORD)?;
        // An empty one is EAP-Start (RFC 3579 2.1).
        let no_eap = request.find(standard::EAP_MESSAGE).is_none();
        let proof = match (no_eap, password, chap) {
            (true, None, None) => return Err(LoginError::NoProof),
            (false, None, None) => Proof::Eap(eap),
            (true, Some(hidden), None) => {
                Proof::Password(open_password(opener, request.authenticator(), hidden)?)
            }
            (true, None, Some(chap)) => Proof::Chap(read_chap(request, opener.secret, chap)?),
            _ => return Err(LoginError::Proofs),
        };
        let mtu = request.only(standard::FRAMED_MTU)?.and_then(integer);
        let cui = request.find(standard::CHARGEABLE_USER_IDENTITY);
        Ok(Self {
            user_name: name.ok_or(LoginError::UserName)?,
            proof,
            station: request.only(standard::CALLING_STATION_ID)?.and_then(parse_mac),
            state: request.only(standard::STATE)?,
            framed_mtu: mtu.and_then(|mtu| u16::try_from(mtu).ok()),
            wants_cui: cui.is_some_and(|value| matches!(value, [] | [0])),
        })
    }
}

/// The challenge is CHAP-Challenge where there is one, else the Request Authenticator (RFC 2865
/// 5.40).
fn read_chap<'a>(
    request: &Packet<'a>,
    secret: &SharedSecret,
    value: &'a [u8],
) -> Result<Chap<'a>, LoginError> {
    let wrong = LoginError::Chap(value.len());
    let (identifier, response) = value.split_first().ok_or(wrong)?;
    let response = response.try_into().map_err(|_| wrong)?;
    let challenge = match request.only(standard::CHAP_CHALLENGE)? {
        Some(challenge) => challenge,
        None if secret.is_transport() => return Err(LoginError::NoChapChallenge),
        None => request.as_bytes().get(4..20).unwrap_or_default(),
    };
    Ok(Chap { identifier: *identifier, challenge, response })
}

/// Who is let in, and on what terms.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The name that accounting is to be under (RFC 2865 5.1).
    pub user_name: &'a str,
    /// Chargeable-User-Identity, where the NAS asked for it.
    pub cui: Option<&'a [u8]>,
    /// What is granted.
    pub allowed: Allowed,
    /// Seconds between interim accounting records (RFC 2869 5.16).
    pub interim: Seconds,
    /// RADIUS Class: what accounting is recognised by.
    pub class: &'a [u8],
    /// EAP-Success, and the keys of the session where there are any.
    pub eap: Option<(&'a [u8], Option<&'a [u8; 64]>)>,
}

/// Writes an Access-Accept. The session keys (MS-MPPE, RFC 2548 2.4) are the halves of the MSK:
/// the first is what the NAS receives with.
///
/// # Errors
/// If the packet is full.
pub fn write_accept(packet: &mut Builder<'_>, admitted: &Admitted<'_>) -> Result<(), LoginError> {
    if let Some((success, msk)) = admitted.eap {
        write_eap(packet, success)?;
        if let Some(msk) = msk {
            let (receive, send) = msk.split_at(32);
            packet.vendor_salted(microsoft::VENDOR, microsoft::MPPE_RECV_KEY, receive)?;
            packet.vendor_salted(microsoft::VENDOR, microsoft::MPPE_SEND_KEY, send)?;
        }
    }
    packet.text(standard::USER_NAME, admitted.user_name)?;
    if let Some(cui) = admitted.cui {
        packet.octets(standard::CHARGEABLE_USER_IDENTITY, cui)?;
    }
    packet.integer(standard::ACCT_INTERIM_INTERVAL, admitted.interim.0)?;
    for part in admitted.class.chunks(MAX_VALUE_LEN) {
        packet.octets(standard::CLASS, part)?;
    }
    admitted.allowed.write(packet)?;
    Ok(())
}

/// Writes an Access-Challenge.
///
/// # Errors
/// If the packet is full.
pub fn write_challenge(
    packet: &mut Builder<'_>,
    eap: &[u8],
    state: &[u8],
) -> Result<(), LoginError> {
    write_eap(packet, eap)?;
    packet.octets(standard::STATE, state)?;
    Ok(())
}

/// Writes an Access-Reject, with EAP-Failure where EAP was spoken.
///
/// # Errors
/// If the packet is full.
pub fn write_reject(packet: &mut Builder<'_>, eap: Option<&[u8]>) -> Result<(), LoginError> {
    eap.map_or(Ok(()), |eap| write_eap(packet, eap))
}

/// An EAP packet, cut into attributes (RFC 3579 3.1).
fn write_eap(packet: &mut Builder<'_>, eap: &[u8]) -> Result<(), LoginError> {
    for part in eap.chunks(MAX_VALUE_LEN) {
        packet.octets(standard::EAP_MESSAGE, part)?;
    }
    Ok(())
}
