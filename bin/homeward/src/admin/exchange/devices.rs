//! The import of devices: planned line by line, keys derived on all cores, written in batches.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use homeward_dot11::{device_key, generate_passphrase};
use homeward_model::{DeviceId, DeviceKey, Mac, Name, Network, Passphrase, Psk, Security, Ssid};
use homeward_store::{DeviceChange, Error, NewDevice};

use super::records::{Seen, no_such, read_status};
use super::sheet::{Reader, parsed};
use super::{Import, Step};
use crate::admin::{Context, spelling};

/// Devices of one transaction: each waits for the disk.
const BATCH: usize = 500;
/// The longest label, in characters, as the datastore has it.
const LABEL: usize = 128;

/// Where a device's key comes from.
enum Key {
    /// It has none: 802.1X.
    None,
    Passphrase(Passphrase),
    Psk(Psk),
    /// It is made, and written to the file for that.
    Made,
}

/// A device to create, but for its key.
struct New {
    account: Name,
    ssid: Ssid,
    device: NewDevice,
    key: Key,
}

/// A device to change, but for its key; `None` leaves the key.
struct Change {
    id: DeviceId,
    ssid: Ssid,
    change: DeviceChange,
    key: Option<Key>,
}

/// What the account and SSID of a line come to.
enum Home {
    Network(Network),
    NoNetwork,
    NoAccount,
}

/// The keys in a line are none.
struct NoKey;

type Plan = Vec<(u64, Step<New, Change>)>;

pub(super) async fn devices(import: &mut Import<'_>, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let plan = plan(import, cx).await?;
    import.checked()?;
    if import.dry_run {
        for (_, step) in &plan {
            import.count(step);
        }
        return Ok(());
    }
    let mut rest = plan.into_iter().peekable();
    while rest.peek().is_some() {
        let batch: Plan = rest.by_ref().take(BATCH).collect();
        write(import, cx, batch).await?;
    }
    Ok(())
}

async fn plan(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<Plan> {
    let mut plan = Vec::new();
    let mut seen = Seen::new();
    let mut networks: BTreeMap<(Name, Ssid), Home> = BTreeMap::new();
    let may_make = import.keys.is_some();
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let (account, ssid) = (r.need("account", parsed::<Name>), r.need("ssid", spelling::ssid));
        let (mac, label) = (r.need("mac", individual), r.given("label", self::label));
        let status = read_status(&mut r);
        let key = read_key(&mut r);
        let (Some(account), Some(ssid), Some(mac)) = (account, ssid, mac) else { continue };
        let home = (account, ssid);
        if !networks.contains_key(&home) {
            networks.insert(home.clone(), find_home(cx, &home).await?);
        }
        let network = match networks.get(&home) {
            Some(Home::Network(network)) => network,
            Some(Home::NoNetwork) => {
                r.problem("ssid", no_network(&home.0, &ssid));
                continue;
            }
            Some(Home::NoAccount) | None => {
                r.problem("account", no_such("account", &home.0));
                continue;
            }
        };
        // What is wrong with the key is told already.
        let Ok(key) = key else { continue };
        seen.once((network.id, mac), row, &mut r, "mac");
        if matches!(key, Some(Key::Psk(_))) && network.security == Security::Wpa3Sae {
            r.problem("psk", "is not enough for wpa3-sae: give a passphrase");
        }
        let step = match cx.store.device_in(network.id, mac).await? {
            None => {
                let key = match key {
                    Some(key) => key,
                    None if network.security == Security::Enterprise => Key::None,
                    None => {
                        if !may_make {
                            r.problem(
                                "passphrase",
                                "is not given: name one, or --keys-out FILE to have it made",
                            );
                        }
                        Key::Made
                    }
                };
                let device = NewDevice {
                    network: network.id,
                    mac,
                    key: None,
                    label: label.flatten().unwrap_or_default(),
                    status: status.unwrap_or_default(),
                };
                Step::Create(New { account: home.0, ssid, device, key })
            }
            Some(old) => {
                import.may_update(row.line, "mac", format_args!("device {}", mac.full()));
                let change = DeviceChange {
                    mac: None,
                    key: None,
                    label: label.map(Option::unwrap_or_default).filter(|label| *label != old.label),
                    status: status.filter(|status| *status != old.status),
                };
                let key = key.filter(|key| !is_same(key, old.key.as_ref()));
                if key.is_none() && change == DeviceChange::default() {
                    Step::Same
                } else {
                    Step::Update(Change { id: old.id, ssid, change, key })
                }
            }
        };
        plan.push((row.line, step));
    }
    Ok(plan)
}

async fn find_home(cx: &Context<'_>, (account, ssid): &(Name, Ssid)) -> anyhow::Result<Home> {
    let Some(account) = cx.store.account_named(account).await? else { return Ok(Home::NoAccount) };
    let network = cx.store.network_of(account.id, *ssid).await?;
    Ok(network.map_or(Home::NoNetwork, Home::Network))
}

fn no_network(account: &Name, ssid: &Ssid) -> String {
    format!(
        "account {account} has no network {}: import or create it first (`homeward admin network create`)",
        spelling::show_ssid(ssid)
    )
}

/// Writes a batch: the new devices in one transaction, then changes one by one.
async fn write(import: &mut Import<'_>, cx: &mut Context<'_>, batch: Plan) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    for (_, step) in &batch {
        let (key, ssid) = match step {
            Step::Create(new) => (Some(&new.key), new.ssid),
            Step::Update(change) => (change.key.as_ref(), change.ssid),
            Step::Same => (None, Ssid::try_from(&b"-"[..])?),
        };
        let source = match key {
            Some(Key::Passphrase(passphrase)) => Source::Passphrase(passphrase.clone(), ssid),
            Some(Key::Made) => Source::Passphrase(generate_passphrase(&mut cx.entropy), ssid),
            Some(Key::Psk(psk)) => Source::Ready(Some(DeviceKey::Psk(psk.clone()))),
            Some(Key::None) | None => Source::Ready(None),
        };
        keys.push(source);
    }
    let keys = derive(keys);
    let mut created = Vec::new();
    let mut lines = Vec::new();
    for ((line, step), key) in batch.iter().zip(&keys) {
        if let Step::Create(new) = step {
            if let (Key::Made, Some(file), Some(passphrase)) =
                (&new.key, &mut import.keys, key.as_ref().and_then(DeviceKey::passphrase))
            {
                let (ssid, mac) =
                    (spelling::spell_ssid(&new.ssid), new.device.mac.full().to_string());
                file.write(&[new.account.as_str(), &ssid, &mac, passphrase.expose()])?;
            }
            created.push(NewDevice { key: key.clone(), ..new.device.clone() });
            lines.push(*line);
        }
    }
    if let Some(file) = &mut import.keys {
        file.sync()?;
    }
    match cx.store.create_devices(&created).await {
        Ok(_) => {}
        Err(Error::Batch { index, source }) => {
            let line = lines.get(index).copied().unwrap_or_default();
            return Err(import.refused(line, *source));
        }
        Err(error) => return Err(error.into()),
    }
    for ((line, step), key) in batch.into_iter().zip(keys) {
        if let Step::Update(Change { id, change, key: new, .. }) = &step {
            let change = DeviceChange { key: new.as_ref().map(|_| key), ..change.clone() };
            let done = cx.store.update_device(*id, &change).await;
            done.map_err(|error| import.refused(line, error))?;
        }
        import.count(&step);
    }
    Ok(())
}

/// A key, or what one is made of.
enum Source {
    Ready(Option<DeviceKey>),
    Passphrase(Passphrase, Ssid),
}

impl Source {
    fn key(self) -> Option<DeviceKey> {
        match self {
            Self::Ready(key) => key,
            Self::Passphrase(passphrase, ssid) => Some(device_key(passphrase, &ssid)),
        }
    }
}

/// Derives keys on all cores: each takes milliseconds (PBKDF2).
fn derive(mut sources: Vec<Source>) -> Vec<Option<DeviceKey>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = sources.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        while !sources.is_empty() {
            let rest = sources.split_off(share.min(sources.len()));
            let part = std::mem::replace(&mut sources, rest);
            workers
                .push(scope.spawn(move || part.into_iter().map(Source::key).collect::<Vec<_>>()));
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

/// The key columns; `None` if neither says anything.
fn read_key(r: &mut Reader<'_>) -> Result<Option<Key>, NoKey> {
    let passphrase = r.given("passphrase", parsed::<Passphrase>);
    // The text is not repeated: it is a key.
    let hex = |text: &str| {
        Psk::from_hex(text).ok_or_else(|| "is no PSK: 64 hex digits are one".to_owned())
    };
    let psk = r.given("psk", hex);
    // A column that is not there is no problem; one that could not be read is.
    if (passphrase.is_none() && r.has("passphrase")) || (psk.is_none() && r.has("psk")) {
        return Err(NoKey);
    }
    match (passphrase.flatten(), psk.flatten()) {
        (Some(_), Some(_)) => {
            r.problem("psk", "goes without a passphrase: leave one of the two empty");
            Err(NoKey)
        }
        (Some(passphrase), None) => Ok(Some(Key::Passphrase(passphrase))),
        (None, Some(psk)) => Ok(Some(Key::Psk(psk))),
        (None, None) => Ok(None),
    }
}

fn is_same(key: &Key, old: Option<&DeviceKey>) -> bool {
    match (key, old) {
        (Key::Passphrase(new), Some(DeviceKey::Passphrase { passphrase, .. })) => new == passphrase,
        (Key::Psk(new), Some(DeviceKey::Psk(psk))) => new == psk,
        _ => false,
    }
}

/// A MAC address of one device.
fn individual(text: &str) -> Result<Mac, String> {
    let mac = parsed::<Mac>(text)?;
    if mac.is_group() {
        Err(format!("{text} is a group address: a device has an individual one"))
    } else {
        Ok(mac)
    }
}

pub(super) fn label(text: &str) -> Result<String, String> {
    match (text.chars().count(), text.chars().any(char::is_control)) {
        (_, true) => Err("has a control character: leave it out".to_owned()),
        (n, _) if n > LABEL => Err(format!("has {n} characters: {LABEL} are the most")),
        _ => Ok(text.to_owned()),
    }
}
