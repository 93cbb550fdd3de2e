//! A D-Bus, as far as NetworkManager and its supplicant are asked over it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use zbus::wire::Type;
use zbus::{Connection, DBusError, Message, ObjectPath, OwnedVariant, Variant};

use crate::SupplicantError;

/// NetworkManager's name, and the beginning of its interfaces' names.
pub(super) const MANAGER: &str = "org.freedesktop.NetworkManager";
/// wpa_supplicant's.
pub(super) const SUPPLICANT: &str = "fi.w1.wpa_supplicant1";
/// The interface by which properties are asked for.
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The bus itself.
pub(super) const DAEMON: &str = "org.freedesktop.DBus";
const DAEMON_PATH: &str = "/org/freedesktop/DBus";

/// The properties of one interface of an object.
pub(super) type Properties = BTreeMap<String, OwnedVariant>;

type Result<T, E = SupplicantError> = std::result::Result<T, E>;

/// A connection to a bus.
#[derive(Debug, Clone)]
pub(super) struct Bus(pub(super) Connection);

impl Bus {
    /// Connects; `None`: to the system's.
    pub(super) async fn connect(address: Option<&str>, patience: Duration) -> Result<Self> {
        let builder = match address {
            None => zbus::connection::Builder::system(),
            Some(address) => zbus::connection::Builder::address(address),
        };
        let connected = builder.method_timeout(patience).build().await;
        connected.map(Self).map_err(SupplicantError::NoBus)
    }

    /// Calls a method of a service's object.
    pub(super) async fn call<B: Serialize + Type>(
        &self,
        service: &'static str,
        path: &str,
        interface: &str,
        method: &'static str,
        body: &B,
    ) -> Result<Message> {
        let path = ObjectPath::try_from(path).map_err(SupplicantError::NoBus)?;
        let called = self.0.call_method(Some(service), path, Some(interface), method, body).await;
        called.map_err(|error| refused(service, method, error))
    }

    /// All properties of an object's interface.
    pub(super) async fn properties(
        &self,
        service: &'static str,
        path: &str,
        interface: &str,
    ) -> Result<Properties> {
        let reply = self.call(service, path, PROPERTIES, "GetAll", &interface).await?;
        read(&reply, "GetAll")
    }

    /// Who has a name on the bus; `None`: nobody. It is not started by this.
    pub(super) async fn owner(&self, name: &str) -> Result<Option<String>> {
        match self.call(DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", &name).await {
            Ok(reply) => read(&reply, "GetNameOwner").map(Some),
            Err(SupplicantError::Away { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has signals sent here.
    pub(super) async fn listen(&self, rule: &str) -> Result<()> {
        self.call(DAEMON, DAEMON_PATH, DAEMON, "AddMatch", &rule).await.map(drop)
    }
}

/// What a reply holds.
pub(super) fn read<T>(reply: &Message, verb: &'static str) -> Result<T>
where
    T: for<'a> serde::Deserialize<'a> + Type,
{
    reply.body().deserialize().map_err(|_| SupplicantError::Answer { verb })
}

/// Takes a property out.
pub(super) fn take<T: TryFrom<OwnedVariant>>(from: &mut Properties, name: &str) -> Option<T> {
    from.remove(name).and_then(|value| T::try_from(value).ok())
}

/// The entries of a table within a property.
pub(super) fn table(value: Variant<'static>) -> BTreeMap<String, Variant<'static>> {
    value.try_into().unwrap_or_default()
}

fn refused(service: &'static str, verb: &'static str, error: zbus::Error) -> SupplicantError {
    let (name, text) = match error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text),
        zbus::Error::FDO(error) => {
            (error.name().to_string(), error.description().map(str::to_owned))
        }
        source => return SupplicantError::Lost { service, source },
    };
    let name = name.rsplit('.').next().unwrap_or_default().to_owned();
    let away = ["ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "Timeout"];
    if away.contains(&name.as_str()) {
        return SupplicantError::Away { service };
    }
    let reason = text.unwrap_or_else(|| "no reason given".to_owned());
    SupplicantError::Refused { service, verb, name, reason }
}
