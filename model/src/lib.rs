//! The vocabulary of Homeward: the words that every other crate speaks.
//!
//! | module | words |
//! |---|---|
//! | [`address`] | [`Mac`], [`Ssid`], [`Rssi`] |
//! | [`secret`] | [`Secret`], [`Passphrase`], [`Psk`], [`DeviceKey`] |
//! | [`site`] | [`Site`]: where a gateway is heard |
//! | [`service`] | [`ClassOfService`] and what it is made of |
//! | [`record`] | [`Account`], [`Gateway`], [`Network`], [`Device`], and the [`RoamingRecord`] that joins them |
//! | [`login`] | [`Login`], its [`Nai`], its [`Verifier`] and its [`Uses`] |
//! | [`cellular`] | [`Imsi`], [`Imei`], [`Msisdn`], [`Apn`], and the [`Subscriber`] |
//! | [`wlan`] | [`OffloadPolicy`]: what credentials are like, and when a device uses Wi-Fi |
//! | [`grant`] | [`Grant`] and [`Refusal`]: the two answers to a look-up |
//! | [`time`] | [`Instant`], [`UnixTime`], [`Clock`], [`Entropy`] |
//! | [`backoff`] | [`Backoff`](backoff::Backoff): waits that double |
//!
//! The floor's promise: words and types only. No I/O, no async, no clock and no randomness of
//! its own. Identifiers of subscribers print redacted; see [`Mac`].
#![forbid(unsafe_code)]

pub mod address;
pub mod backoff;
pub mod cellular;
pub mod grant;
pub mod login;
pub mod name;
pub mod record;
pub mod secret;
pub mod service;
pub mod site;
pub mod time;
pub mod wlan;

pub use address::{Mac, Rssi, Ssid};
pub use cellular::{Apn, Imei, Imsi, Msisdn, Subscriber};
pub use grant::{Grant, Refusal, RefusalReason};
pub use login::{Login, Nai, NtHash, Uses, Verifier};
pub use name::{Name, Place};
pub use record::{
    Account, AccountId, ClassId, Device, DeviceId, Gateway, GatewayId, LoginId, LookupForm,
    Network, NetworkId, RoamingRecord, Security, Status, SubscriberId,
};
pub use secret::{DeviceKey, Passphrase, Psk, Secret};
pub use service::{
    Anchor, Bandwidth, BondingModes, ClassOfService, Coverage, Days, Encryption, Priority, Quota,
    QuotaPeriod, Seconds, ServiceTerms, Vlan,
};
pub use site::{Site, SiteError};
pub use time::{Clock, Entropy, Instant, UnixTime};
pub use wlan::{
    CredentialTerms, EapMethod, OffloadPolicy, PolicyError, PolicyScope, TimeOfDay, Weekday,
    Window, WlanNetwork, WlanPolicy,
};
