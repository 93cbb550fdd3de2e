//! Rows into records.
//!
//! Each kind of record has its columns spelled once, as a macro so that statements stay literals,
//! and a reader that takes them in that order.

use std::error::Error as StdError;
use std::str::FromStr;

use homeward_model::{
    Account, AccountId, Bandwidth, BondingModes, ClassId, ClassOfService, Days, Device, DeviceId,
    Gateway, GatewayId, Login, LoginId, Mac, Network, NetworkId, Priority, Quota, Rssi, Seconds,
    ServiceTerms, Ssid, Subscriber, SubscriberId, UnixTime, Vlan,
};
use homeward_seal::{SealError, Sealer, Slot};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::error::{Entity, Error, Result};
use crate::issuing::IssuedFacts;
use crate::outbox::{DeviceFacts, GatewayFacts, KeyKind, LoginFacts, VerifierKind};
use crate::sealed::{self, decode_key, decode_verifier, into_secret};

/// The columns that [`Columns::class`] takes, of the table as `c`.
macro_rules! class_columns {
    () => {
        "c.id, c.name, c.coverage, c.priority, c.bandwidth_up, c.bandwidth_down, c.quota_octets, c.quota_period, c.encryption, c.bonding_mirrored, c.bonding_striped, c.handoff_threshold, c.session_timeout, c.idle_timeout, c.anchor, c.vlan, c.retention"
    };
}
/// The columns that [`Columns::account`] takes, of the table as `a`.
macro_rules! account_columns {
    () => {
        "a.id, a.name, a.class, a.status"
    };
}
/// The columns that [`Columns::gateway`] takes, of the table as `g`.
macro_rules! gateway_columns {
    () => {
        "g.id, g.name, g.mac, g.place, g.operator, g.address, g.radius_secret, g.lookup, g.status, g.device_of, g.site"
    };
}
/// The columns that [`Columns::network`] takes, of the table as `n`.
macro_rules! network_columns {
    () => {
        "n.id, n.account, n.gateway, n.ssid, n.security, n.status"
    };
}
/// The columns that [`Columns::device`] takes, of the table as `d`.
macro_rules! device_columns {
    () => {
        "d.id, d.network, d.mac, d.key_kind, d.key, d.label, d.status"
    };
}
/// The columns that [`Columns::login`] takes, of the table as `l`.
macro_rules! login_columns {
    () => {
        "l.id, l.account, l.name, l.verifier_kind, l.verifier, l.mac, l.expires, l.uses, l.label, l.status"
    };
}
/// The columns that [`Columns::subscriber`] takes, of the table as `s`.
macro_rules! subscriber_columns {
    () => {
        "s.id, s.imsi, s.msisdn, s.account, s.label, s.status"
    };
}
/// The columns that [`Columns::issued`] takes before a log-in's, of the table as `i`.
macro_rules! issued_columns {
    () => {
        "i.login, i.imsi, i.imei, i.mac, i.address, i.issued, i.renew_from, i.way"
    };
}
pub(super) use {
    account_columns, class_columns, device_columns, gateway_columns, issued_columns, login_columns,
    network_columns, subscriber_columns,
};

/// A gateway with its secret still sealed.
pub(super) struct SealedGateway {
    pub(super) facts: GatewayFacts,
    pub(super) secret: Vec<u8>,
}

impl SealedGateway {
    pub(super) fn open(self, sealer: &Sealer) -> Result<Gateway, SealError> {
        let plain = sealer.open(sealed::radius_secret(self.facts.id.0), &self.secret)?;
        Ok(self.facts.with_secret(into_secret(plain)))
    }
}

/// A device with its key still sealed.
pub(super) struct SealedDevice {
    pub(super) facts: DeviceFacts,
    pub(super) key: Option<Vec<u8>>,
}

impl SealedDevice {
    pub(super) fn open(self, sealer: &Sealer) -> Result<Device, SealError> {
        let slot = sealed::device_key(self.facts.id.0);
        let key = match &self.key {
            Some(blob) => Some(decode_key(slot, &sealer.open(slot, blob)?)?),
            None => None,
        };
        // The kind stands in the clear, so it is believed only if the sealed key agrees.
        if KeyKind::of(key.as_ref()) != self.facts.key {
            let Slot { table, column, row } = slot;
            return Err(SealError::Malformed { table, row, column });
        }
        Ok(self.facts.with_key(key))
    }
}

/// A log-in with its verifier still sealed.
pub(super) struct SealedLogin {
    pub(super) facts: LoginFacts,
    pub(super) verifier: Vec<u8>,
}

impl SealedLogin {
    pub(super) fn open(self, sealer: &Sealer) -> Result<Login, SealError> {
        let slot = sealed::login_verifier(self.facts.id.0);
        let verifier = decode_verifier(slot, &sealer.open(slot, &self.verifier)?)?;
        // As with a device's key, the kind in the clear is believed only if the sealed one agrees.
        if VerifierKind::of(&verifier) != self.facts.verifier {
            let Slot { table, column, row } = slot;
            return Err(SealError::Malformed { table, row, column });
        }
        Ok(self.facts.with_verifier(verifier))
    }
}

/// What was issued, with the verifier still sealed.
pub(super) struct SealedIssued {
    pub(super) facts: IssuedFacts,
    pub(super) verifier: Vec<u8>,
}

/// The columns of one row, taken one after the other.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    at: usize,
    entity: Entity,
    id: i64,
}

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r SqliteRow) -> Self {
        Self { row, at: 0, entity: Entity::Class, id: 0 }
    }

    pub(super) fn class(&mut self) -> Result<ClassOfService> {
        let id = ClassId(self.begin(Entity::Class)?);
        let name = self.text()?;
        let coverage = self.text()?;
        let priority: u8 = self.next()?;
        let priority = Priority::try_from(priority).map_err(|e| self.corrupt(e))?;
        let bandwidth = Bandwidth { up: self.next()?, down: self.next()? };
        let octets: Option<i64> = self.next()?;
        let period: Option<String> = self.next()?;
        let quota = match (octets, period) {
            (Some(octets), Some(period)) => Some(Quota {
                octets: octets.try_into().map_err(|e| self.corrupt(e))?,
                period: period.parse().map_err(|e| self.corrupt(e))?,
            }),
            _ => None,
        };
        let encryption = self.text()?;
        let bonding = BondingModes { mirrored: self.next()?, striped: self.next()? };
        let threshold: Option<i8> = self.next()?;
        let session: Option<u32> = self.next()?;
        let idle: Option<u32> = self.next()?;
        let anchor = self.text()?;
        let vlan: Option<u16> = self.next()?;
        let vlan = vlan.map(Vlan::try_from).transpose().map_err(|e| self.corrupt(e))?;
        let terms = ServiceTerms {
            priority,
            bandwidth,
            quota,
            encryption,
            anchor,
            bonding,
            handoff_threshold: threshold.map(Rssi),
            session_timeout: session.map(Seconds),
            idle_timeout: idle.map(Seconds),
            vlan,
        };
        let retention: Option<u32> = self.next()?;
        let retention = retention.map(Days::try_from).transpose().map_err(|e| self.corrupt(e))?;
        Ok(ClassOfService { id, name, coverage, terms, retention })
    }

    pub(super) fn account(&mut self) -> Result<Account> {
        let id = AccountId(self.begin(Entity::Account)?);
        let (name, class, status) = (self.text()?, ClassId(self.next()?), self.text()?);
        Ok(Account { id, name, class, status })
    }

    pub(super) fn gateway(&mut self) -> Result<SealedGateway> {
        let id = GatewayId(self.begin(Entity::Gateway)?);
        let (name, mac, place, operator) = (self.text()?, self.mac()?, self.text()?, self.text()?);
        let (address, secret) = (self.next()?, self.next()?);
        let (lookup, status) = (self.text()?, self.text()?);
        let device_of: Option<i64> = self.next()?;
        let device_of = device_of.map(NetworkId);
        let site: Option<&str> = self.next()?;
        let site = site.map(str::parse).transpose().map_err(|error| self.corrupt(error))?;
        let facts = GatewayFacts {
            id,
            name,
            mac,
            place,
            operator,
            address,
            lookup,
            status,
            device_of,
            site,
        };
        Ok(SealedGateway { facts, secret })
    }

    /// A gateway out of a LEFT JOIN.
    pub(super) fn optional_gateway(&mut self) -> Result<Option<SealedGateway>> {
        let id: Option<i64> = self.row.try_get(self.at).map_err(|e| self.corrupt(e))?;
        if id.is_some() { self.gateway().map(Some) } else { Ok(None) }
    }

    pub(super) fn network(&mut self) -> Result<Network> {
        let id = NetworkId(self.begin(Entity::Network)?);
        let account = AccountId(self.next()?);
        let gateway: Option<i64> = self.next()?;
        let ssid: &[u8] = self.next()?;
        let ssid = Ssid::try_from(ssid).map_err(|e| self.corrupt(e))?;
        let (security, status) = (self.text()?, self.text()?);
        Ok(Network { id, account, gateway: gateway.map(GatewayId), ssid, security, status })
    }

    pub(super) fn device(&mut self) -> Result<SealedDevice> {
        let id = DeviceId(self.begin(Entity::Device)?);
        let (network, mac) = (NetworkId(self.next()?), self.mac()?);
        let kind: &str = self.next()?;
        let kind = KeyKind::ALL.into_iter().find(|k| k.as_str() == kind);
        let kind = kind.ok_or_else(|| self.corrupt("key_kind is none of the known"))?;
        let key = self.next()?;
        let (label, status) = (self.next()?, self.text()?);
        let facts = DeviceFacts { id, network, mac, key: kind, label, status };
        Ok(SealedDevice { facts, key })
    }

    pub(super) fn login(&mut self) -> Result<SealedLogin> {
        let id = LoginId(self.begin(Entity::Login)?);
        let (account, name) = (AccountId(self.next()?), self.text()?);
        let kind: &str = self.next()?;
        let kind = VerifierKind::ALL.into_iter().find(|k| k.as_str() == kind);
        let kind = kind.ok_or_else(|| self.corrupt("verifier_kind is none of the known"))?;
        let verifier = self.next()?;
        let mac: Option<&[u8]> = self.next()?;
        let mac = mac.map(TryFrom::try_from).transpose().map_err(|e| self.corrupt(e))?;
        let expires: Option<i64> = self.next()?;
        let (uses, label, status) = (self.text()?, self.next()?, self.text()?);
        let facts = LoginFacts {
            id,
            account,
            name,
            verifier: kind,
            mac: mac.map(Mac::new),
            expires: expires.map(UnixTime),
            uses,
            label,
            status,
        };
        Ok(SealedLogin { facts, verifier })
    }

    pub(super) fn subscriber(&mut self) -> Result<Subscriber> {
        let id = SubscriberId(self.begin(Entity::Subscriber)?);
        let (imsi, msisdn) = (self.text()?, self.optional_text()?);
        let account = AccountId(self.next()?);
        let (label, status) = (self.next()?, self.text()?);
        Ok(Subscriber { id, imsi, msisdn, account, label, status })
    }

    pub(super) fn issued(&mut self) -> Result<SealedIssued> {
        self.begin(Entity::Login)?;
        let (imsi, imei, mac) = (self.text()?, self.optional_text()?, self.mac()?);
        let (address, issued) = (self.optional_text()?, UnixTime(self.next()?));
        let renew_from: Option<i64> = self.next()?;
        let way = self.text()?;
        let SealedLogin { facts: login, verifier } = self.login()?;
        let renew_from = renew_from.map(UnixTime);
        let facts = IssuedFacts { login, imsi, imei, mac, address, issued, renew_from, way };
        Ok(SealedIssued { facts, verifier })
    }

    /// Takes a record's identifier, which is its first column, and blames that record from here.
    fn begin(&mut self, entity: Entity) -> Result<i64> {
        (self.entity, self.id) = (entity, 0);
        self.id = self.next()?;
        Ok(self.id)
    }

    fn next<T: Decode<'r, Sqlite> + Type<Sqlite>>(&mut self) -> Result<T> {
        let at = self.at;
        self.at += 1;
        self.row.try_get(at).map_err(|e| self.corrupt(e))
    }

    fn text<T: FromStr<Err: StdError + Send + Sync + 'static>>(&mut self) -> Result<T> {
        let text: &str = self.next()?;
        text.parse().map_err(|e: T::Err| self.corrupt(e))
    }

    fn optional_text<T>(&mut self) -> Result<Option<T>>
    where
        T: FromStr<Err: StdError + Send + Sync + 'static>,
    {
        let text: Option<&str> = self.next()?;
        text.map(str::parse).transpose().map_err(|e: T::Err| self.corrupt(e))
    }

    fn mac(&mut self) -> Result<Mac> {
        let octets: &[u8] = self.next()?;
        octets.try_into().map(Mac::new).map_err(|e| self.corrupt(e))
    }

    fn corrupt(&self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::corrupt(self.entity, self.id, source)
    }
}
