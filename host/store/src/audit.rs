//! The audit trail: who changed what, when, from what to what.
//!
//! A store handle that has an [`Actor`] writes an entry with every mutation, in its transaction. A
//! record in it carries no key and no secret, as in the [outbox](crate::outbox); where a secret was
//! replaced, its name says `"changed"` in what there is after.
//!
//! Handles without an actor are those of the core's roles, which do what the records tell them.
//! What they write (redeemed tokens, issued credentials, learned moves) has records of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use homeward_model::{GatewayId, UnixTime};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::enrolment::StoredAuthority;
use crate::error::{Entity, Error, Result};
use crate::outbox::{Operation, OutboxRecord, Seq};
use crate::store::Store;

/// Who does something: `admin:fred`, `api:billing`. 1 to 128 characters, none of them a control
/// character or white space.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Actor(Arc<str>);

/// A text that is no [`Actor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot stand in the audit trail: give 1 to 128 characters without white space")]
pub struct ActorError(String);

impl Actor {
    /// Somebody who has a number only: `admin:1000`.
    pub fn numbered(kind: &'static str, number: u32) -> Self {
        Self(format!("{kind}{number}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        let good = |c: char| !c.is_control() && !c.is_whitespace();
        if (1..=128).contains(&text.chars().count()) && text.chars().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(ActorError(text.to_owned()))
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of thing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditKind {
    /// A record.
    Record(Entity),
    /// A credential that was issued to a subscriber.
    Issued,
    /// A gateway's enrolment: its token and its certificates.
    Access,
    /// The authority that signs certificates.
    Authority,
    /// The key that seals secrets.
    SealingKey,
}

impl AuditKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Record(Entity::Class),
        Self::Record(Entity::Account),
        Self::Record(Entity::Gateway),
        Self::Record(Entity::Network),
        Self::Record(Entity::Device),
        Self::Record(Entity::Login),
        Self::Record(Entity::Subscriber),
        Self::Record(Entity::Policy),
        Self::Issued,
        Self::Access,
        Self::Authority,
        Self::SealingKey,
    ];

    /// The word for commands and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record(entity) => entity.as_str(),
            Self::Issued => "issued",
            Self::Access => "access",
            Self::Authority => "authority",
            Self::SealingKey => "sealing-key",
        }
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AuditKind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// A text that names no [`AuditKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no kind of record: give one of {}", all())]
pub struct AuditKindError {
    given: String,
}

fn all() -> String {
    AuditKind::ALL.map(AuditKind::as_str).join(", ")
}

impl FromStr for AuditKind {
    type Err = AuditKindError;

    fn from_str(text: &str) -> Result<Self, AuditKindError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| AuditKindError { given: text.to_owned() })
    }
}

/// One thing that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number: rises with every entry, in the order of commits.
    pub seq: Seq,
    /// When, in milliseconds since 1970.
    pub time: UnixTime,
    /// Who.
    pub actor: Actor,
    /// To what kind of thing.
    pub kind: AuditKind,
    /// To which of them: the record's identifier; of [`AuditKind::Issued`] the log-in's, of
    /// [`AuditKind::Access`] the gateway's.
    pub record: i64,
    /// What was done.
    pub operation: Operation,
    /// What was there before.
    pub before: Option<Value>,
    /// What there is after.
    pub after: Option<Value>,
}

/// Which entries to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Those of this kind.
    pub kind: Option<AuditKind>,
    /// Those of this time or later.
    pub since: Option<UnixTime>,
    /// Those of this actor.
    pub actor: Option<Actor>,
}

/// What is about to be written of a mutation.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) kind: AuditKind,
    pub(crate) record: i64,
    pub(crate) operation: Operation,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Note {
    /// Of a record. `secret` is the name of a secret that was replaced.
    pub(crate) fn of(
        operation: Operation,
        before: Option<&OutboxRecord>,
        after: Option<&OutboxRecord>,
        secret: Option<&'static str>,
    ) -> Result<Option<Self>> {
        let Some(one) = after.or(before) else { return Ok(None) };
        let (kind, record) = (AuditKind::Record(one.entity()), one.id());
        let value = |record: &OutboxRecord| Self::value(record.entity(), record.id(), record);
        let before = before.map(value).transpose()?;
        let mut after = after.map(value).transpose()?;
        if let (Some(name), Some(Value::Object(fields))) = (secret, &mut after) {
            fields.insert(name.to_owned(), "changed".into());
        }
        Ok(Some(Self { kind, record, operation, before, after }))
    }

    /// Of a gateway's enrolment.
    pub(crate) fn access(gateway: GatewayId, operation: Operation, what: Value) -> Self {
        let (kind, record) = (AuditKind::Access, gateway.0);
        match operation {
            Operation::Delete => Self { kind, record, operation, before: Some(what), after: None },
            _ => Self { kind, record, operation, before: None, after: Some(what) },
        }
    }

    /// Of the authority, by the SHA-256 of its certificate.
    pub(crate) fn authority(id: i64, new: &StoredAuthority) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &new.certificate);
        let after = Some(json!({ "certificate_sha256": hex(digest.as_ref()) }));
        let (kind, operation) = (AuditKind::Authority, Operation::Create);
        Self { kind, record: id, operation, before: None, after }
    }

    /// As JSON.
    pub(crate) fn value(entity: Entity, id: i64, what: &impl Serialize) -> Result<Value> {
        serde_json::to_value(what).map_err(|e| Error::corrupt(entity, id, e))
    }
}

/// Octets as the trail spells them.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The audit trail.
#[async_trait]
pub trait Audit: Send + Sync {
    /// At most `limit` entries after `after` that pass the filter, oldest first.
    async fn audit_after(
        &self,
        after: Seq,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEntry>>;
    /// Forgets entries from before `before`, the oldest first, at most `limit` at a time; returns
    /// how many.
    async fn prune_audit(&self, before: UnixTime, limit: u32) -> Result<u64>;
    /// The same datastore, in which `actor` does what is done through the new handle.
    fn acting_as(&self, actor: Actor) -> Arc<dyn Store>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_one_printable_word() {
        for (text, good) in [
            ("admin:fred", true),
            ("", false),
            ("admin: fred", false),
            ("a\u{1b}b", false),
            (&*"x".repeat(128), true),
            (&*"x".repeat(129), false),
        ] {
            assert_eq!(text.parse::<Actor>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn every_record_has_a_kind_and_every_kind_a_word_of_its_own() {
        for entity in Entity::ALL {
            assert!(AuditKind::ALL.contains(&AuditKind::Record(entity)), "{entity}");
        }
        for kind in AuditKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "grant".parse::<AuditKind>().unwrap_err().to_string();
        assert!(
            error.starts_with("\"grant\" is no kind of record: give one of class, "),
            "{error}"
        );
    }
}
