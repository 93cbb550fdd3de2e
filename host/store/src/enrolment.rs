//! Who may open a control channel: the authority, enrolment tokens, gateways' credentials.
//!
//! A token is used once and becomes a credential; a credential is renewed into the next. The
//! first use of a newer credential ends the older ones of its gateway, so that a key that was
//! replaced is worth nothing; a new enrolment ends all that came before it at once. Each of these
//! writes an outbox entry of the gateway, so that whoever follows the outbox learns of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{GatewayId, Secret, UnixTime};

use crate::error::Result;
use crate::outbox::GatewayFacts;

/// For how long after its end a credential is remembered, so that its owner can be told why it is
/// refused: 400 days, in milliseconds.
pub(crate) const REMEMBERED: i64 = 400 * 86_400_000;

/// The authority as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// Its private key, as PKCS#8 in DER.
    pub key: Secret,
}

/// A credential about to be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCredential {
    /// The certificate's serial number; random, so never given twice.
    pub serial: [u8; 16],
    /// Now.
    pub issued: UnixTime,
    /// When the certificate ends.
    pub not_after: UnixTime,
}

/// A credential that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// The certificate's serial number.
    pub serial: [u8; 16],
    /// Whose it is.
    pub gateway: GatewayId,
    /// When it was given out.
    pub issued: UnixTime,
    /// When the certificate ends.
    pub not_after: UnixTime,
    /// When it first opened a channel.
    pub used: Option<UnixTime>,
    /// When it ended before its time, and why.
    pub ended: Option<(UnixTime, CredentialEnd)>,
}

/// Why a credential ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialEnd {
    /// An operator took it back.
    Revoked,
    /// A newer one of the gateway was used.
    Superseded,
    /// The gateway was enrolled anew.
    Replaced,
}

impl CredentialEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Revoked, Self::Superseded, Self::Replaced];

    /// The word for status and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::Replaced => "replaced",
        }
    }
}

/// What became of a token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// It is used up, and the credential is noted for that gateway.
    Done(GatewayFacts),
    /// Nobody was given that token, or a newer one was.
    Unknown,
    /// It was used before.
    Used,
    /// It ran out.
    Expired,
    /// Its gateway is suspended; it is as good as before.
    Suspended,
}

/// What became of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// The new credential is noted for that gateway.
    Done(GatewayFacts),
    /// There is no such credential.
    Unknown,
    /// It has ended.
    Ended(CredentialEnd),
    /// Its gateway is suspended.
    Suspended,
}

/// How a gateway stands with the control channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayAccess {
    /// The last token that was printed for it: when it runs out, and when it was used.
    pub token: Option<(UnixTime, Option<UnixTime>)>,
    /// Its credentials, oldest first.
    pub credentials: Vec<Credential>,
}

impl GatewayAccess {
    /// The credential that counts: the newest of those that were used and have not ended, or, if
    /// there is none, the newest at all.
    pub fn current(&self) -> Option<&Credential> {
        let mut newest_first = self.credentials.iter().rev();
        let in_use = newest_first.clone().find(|c| c.used.is_some() && c.ended.is_none());
        let live = in_use.or_else(|| newest_first.clone().find(|c| c.ended.is_none()));
        live.or_else(|| newest_first.next())
    }
}

/// Who may open a control channel.
#[async_trait]
pub trait Enrolment: Send + Sync {
    /// The authority, if there is one yet.
    async fn authority(&self) -> Result<Option<StoredAuthority>>;
    /// Keeps the authority unless there is one already; returns the one that stands.
    async fn found_authority(&self, new: &StoredAuthority) -> Result<StoredAuthority>;
    /// Notes the hash of a token for a gateway, in place of an earlier token.
    async fn put_token(&self, gateway: GatewayId, hash: [u8; 32], expires: UnixTime) -> Result<()>;
    /// Uses a token up: its gateway's earlier credentials end, the new one is noted.
    async fn redeem_token(&self, hash: [u8; 32], new: &NewCredential) -> Result<Redeemed>;
    /// Notes a credential in place of another, which stays good until the new one is used.
    async fn renew_credential(&self, serial: [u8; 16], new: &NewCredential) -> Result<Renewed>;
    /// The credential with that serial number, and its gateway.
    async fn credential(&self, serial: [u8; 16]) -> Result<Option<(Credential, GatewayFacts)>>;
    /// Notes that a credential opened a channel. The first time, older ones of its gateway end.
    async fn use_credential(&self, serial: [u8; 16], at: UnixTime) -> Result<()>;
    /// How a gateway stands; nothing for one that was never enrolled.
    async fn gateway_access(&self, gateway: GatewayId) -> Result<GatewayAccess>;
    /// The same for all gateways from the first identifier to the last that have a token or a
    /// credential.
    async fn gateway_accesses(
        &self,
        first: GatewayId,
        last: GatewayId,
    ) -> Result<BTreeMap<GatewayId, GatewayAccess>>;
    /// Ends all credentials of a gateway and forgets its token; returns how many credentials were
    /// still good. Writes an outbox entry in any case.
    async fn revoke_access(&self, gateway: GatewayId) -> Result<u64>;
}
