//! The import of classes, accounts, gateways and networks: planned line by line, then written.

use std::collections::BTreeMap;

use homeward_model::{Days, Name, Secret, ServiceTerms, Site, Status};
use homeward_store::{
    AccountChange, ClassChange, GatewayChange, NetworkChange, NewAccount, NewClass, NewGateway,
    NewNetwork,
};

use super::sheet::{Reader, Row, parsed};
use super::{Import, Step};
use crate::admin::spelling::{self, Rate, Spelled};
use crate::admin::{Context, class, secret};

/// Finds a key that an earlier line of the file has already.
pub(super) struct Seen<K>(BTreeMap<K, u64>);

impl<K: Ord> Seen<K> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Tells of a line that repeats another.
    pub(super) fn once(
        &mut self,
        key: K,
        row: &Row,
        reader: &mut Reader<'_>,
        column: &'static str,
    ) {
        if let Some(line) = self.0.insert(key, row.line) {
            reader.problem(column, format!("is the same as on line {line}"));
        }
    }
}

/// A change if it changes anything, and may.
pub(super) fn update<N, I, C: Default + PartialEq>(id: I, change: C) -> Step<N, (I, C)> {
    if change == C::default() { Step::Same } else { Step::Update((id, change)) }
}

/// `Some` if it is not what is there.
pub(super) fn differs<T: PartialEq>(new: T, old: &T) -> Option<T> {
    (new != *old).then_some(new)
}

/// Writes what was planned, a transaction a line.
macro_rules! write_all {
    ($import:ident, $cx:ident, $plan:ident, $create:ident, $update:ident) => {
        $import.checked()?;
        for (line, step) in $plan {
            if !$import.dry_run {
                let done = match &step {
                    Step::Create(new) => $cx.store.$create(new).await.map(drop),
                    Step::Update((id, change)) => $cx.store.$update(*id, change).await.map(drop),
                    Step::Same => Ok(()),
                };
                done.map_err(|error| $import.refused(line, error))?;
            }
            $import.count(&step);
        }
        return Ok(());
    };
}
pub(super) use write_all;

pub(super) async fn classes(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<()> {
    let mut plan = Vec::new();
    let mut seen = Seen::new();
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let Some(name) = r.need("name", parsed::<Name>) else { continue };
        seen.once(name.clone(), row, &mut r, "name");
        let old = cx.store.class_named(&name).await?;
        let mut terms = old.as_ref().map_or_else(ServiceTerms::default, |class| class.terms);
        read_terms(&mut r, &mut terms);
        let coverage = r.given("coverage", parsed).map(Option::unwrap_or_default);
        let retention = r.given("retention", Days::read);
        plan.push((
            row.line,
            match old {
                None => {
                    let (coverage, retention) = (coverage.unwrap_or_default(), retention.flatten());
                    Step::Create(NewClass { name, coverage, terms, retention })
                }
                Some(old) => {
                    import.may_update(row.line, "name", format_args!("class {name}"));
                    let coverage = coverage.and_then(|coverage| differs(coverage, &old.coverage));
                    let retention = retention.and_then(|days| differs(days, &old.retention));
                    let terms = differs(terms, &old.terms);
                    update(old.id, ClassChange { name: None, coverage, terms, retention })
                }
            },
        ));
    }
    write_all!(import, cx, plan, create_class, update_class);
}

/// Takes the columns that are there.
fn read_terms(r: &mut Reader<'_>, terms: &mut ServiceTerms) {
    /// Sets a field to what its cell says.
    macro_rules! take {
        ($($column:literal, $parse:expr => $field:expr, $set:expr);+ $(;)?) => { $(
            if let Some(value) = r.given($column, $parse) {
                $field = $set(value);
            }
        )+ };
    }
    let rate = |rate: Option<Rate>| rate.map(|Rate(bits)| bits);
    take! {
        "priority", class::priority => terms.priority, Option::unwrap_or_default;
        "bandwidth_up", Rate::read => terms.bandwidth.up, rate;
        "bandwidth_down", Rate::read => terms.bandwidth.down, rate;
        "quota", Spelled::read => terms.quota, std::convert::identity;
        "encryption", parsed => terms.encryption, Option::unwrap_or_default;
        "anchor", parsed => terms.anchor, Option::unwrap_or_default;
        "bonding", spelling::bonding => terms.bonding, Option::unwrap_or_default;
        "handoff_threshold", Spelled::read => terms.handoff_threshold, std::convert::identity;
        "session_timeout", Spelled::read => terms.session_timeout, std::convert::identity;
        "idle_timeout", Spelled::read => terms.idle_timeout, std::convert::identity;
        "vlan", Spelled::read => terms.vlan, std::convert::identity;
    }
}

/// The status column: empty is active, no column leaves it.
pub(super) fn read_status(r: &mut Reader<'_>) -> Option<Status> {
    r.given("status", parsed).map(Option::unwrap_or_default)
}

pub(super) async fn accounts(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<()> {
    let mut plan = Vec::new();
    let mut seen = Seen::new();
    let mut classes = BTreeMap::new();
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let (name, class, status) =
            (r.need("name", parsed::<Name>), r.need("class", parsed::<Name>), read_status(&mut r));
        let (Some(name), Some(class)) = (name, class) else { continue };
        seen.once(name.clone(), row, &mut r, "name");
        let id = match classes.get(&class) {
            Some(id) => *id,
            None => {
                let id = cx.store.class_named(&class).await?.map(|class| class.id);
                classes.insert(class.clone(), id);
                id
            }
        };
        let Some(class) = id else {
            r.problem("class", no_such("class", &class));
            continue;
        };
        plan.push((
            row.line,
            match cx.store.account_named(&name).await? {
                None => {
                    Step::Create(NewAccount { name, class, status: status.unwrap_or_default() })
                }
                Some(old) => {
                    import.may_update(row.line, "name", format_args!("account {name}"));
                    let status = status.and_then(|status| differs(status, &old.status));
                    update(
                        old.id,
                        AccountChange { name: None, class: differs(class, &old.class), status },
                    )
                }
            },
        ));
    }
    write_all!(import, cx, plan, create_account, update_account);
}

pub(super) async fn gateways(import: &mut Import<'_>, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let mut plan = Vec::new();
    let mut made: Vec<(Name, String)> = Vec::new();
    let (mut names, mut macs) = (Seen::new(), Seen::new());
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let name = r.need("name", parsed::<Name>);
        let (mac, place, operator) =
            (r.need("mac", parsed), r.need("place", parsed), r.need("operator", parsed));
        let address = r.given("address", |text| Ok(text.to_owned()));
        let lookup = r.given("lookup", parsed).map(Option::unwrap_or_default);
        let status = read_status(&mut r);
        let site = r.given("site", Site::read);
        let given = r.given("radius_secret", spelling::secret).flatten();
        let (Some(name), Some(mac), Some(place), Some(operator)) = (name, mac, place, operator)
        else {
            continue;
        };
        names.once(name.clone(), row, &mut r, "name");
        macs.once(mac, row, &mut r, "mac");
        let old = cx.store.gateway_named(&name).await?;
        if old.as_ref().is_some_and(|old| old.device_of.is_some()) {
            r.problem("name", format!("{name} is a hybrid device: `import hybrid` changes those"));
            continue;
        }
        plan.push((
            row.line,
            match old {
                None => {
                    let address = address.flatten();
                    let radius_secret = match given {
                        Some(given) => given,
                        None if import.keys.is_some() => {
                            let secret = secret::generate(&mut cx.entropy);
                            made.push((name.clone(), secret.clone()));
                            Secret::new(secret)
                        }
                        None => {
                            if address.is_some() {
                                r.problem(
                                    "radius_secret",
                                    "is not given: name one, or --keys-out FILE to have it made",
                                );
                            }
                            Secret::default()
                        }
                    };
                    let (lookup, status) = (lookup.unwrap_or_default(), status.unwrap_or_default());
                    Step::Create(NewGateway {
                        name,
                        mac,
                        place,
                        operator,
                        address,
                        radius_secret,
                        lookup,
                        status,
                        device_of: None,
                        site: site.flatten(),
                    })
                }
                Some(old) => {
                    import.may_update(row.line, "name", format_args!("gateway {name}"));
                    update(
                        old.id,
                        GatewayChange {
                            name: None,
                            mac: differs(mac, &old.mac),
                            place: differs(place, &old.place),
                            operator: differs(operator, &old.operator),
                            address: address.and_then(|address| differs(address, &old.address)),
                            radius_secret: given
                                .and_then(|secret| differs(secret, &old.radius_secret)),
                            lookup: lookup.and_then(|lookup| differs(lookup, &old.lookup)),
                            status: status.and_then(|status| differs(status, &old.status)),
                            site: site.and_then(|site| differs(site, &old.site)),
                        },
                    )
                }
            },
        ));
    }
    import.checked()?;
    if let (Some(keys), false) = (&mut import.keys, import.dry_run) {
        for (name, secret) in &made {
            keys.write(&[name.as_str(), secret])?;
        }
        keys.sync()?;
    }
    write_all!(import, cx, plan, create_gateway, update_gateway);
}

pub(super) async fn networks(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<()> {
    let mut plan = Vec::new();
    let mut seen = Seen::new();
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let (account, ssid) = (r.need("account", parsed::<Name>), r.need("ssid", spelling::ssid));
        let (security, gateway) = (r.need("security", parsed), r.given("gateway", parsed::<Name>));
        let status = read_status(&mut r);
        let (Some(account), Some(ssid), Some(security)) = (account, ssid, security) else {
            continue;
        };
        let Some(owner) = cx.store.account_named(&account).await? else {
            r.problem("account", no_such("account", &account));
            continue;
        };
        seen.once((owner.id, ssid), row, &mut r, "ssid");
        let gateway = match gateway {
            Some(Some(name)) => match cx.store.gateway_named(&name).await? {
                Some(gateway) => Some(Some(gateway.id)),
                None => {
                    r.problem("gateway", no_such("gateway", &name));
                    continue;
                }
            },
            Some(None) => Some(None),
            None => None,
        };
        plan.push((
            row.line,
            match cx.store.network_of(owner.id, ssid).await? {
                None => Step::Create(NewNetwork {
                    account: owner.id,
                    gateway: gateway.flatten(),
                    ssid,
                    security,
                    status: status.unwrap_or_default(),
                }),
                Some(old) => {
                    let path = format!("network {account}/{}", spelling::show_ssid(&ssid));
                    import.may_update(row.line, "ssid", path);
                    update(
                        old.id,
                        NetworkChange {
                            gateway: gateway.and_then(|gateway| differs(gateway, &old.gateway)),
                            ssid: None,
                            security: differs(security, &old.security),
                            status: status.and_then(|status| differs(status, &old.status)),
                        },
                    )
                }
            },
        ));
    }
    write_all!(import, cx, plan, create_network, update_network);
}

/// What a line refers to is not there.
pub(super) fn no_such(entity: &str, name: &Name) -> String {
    format!(
        "there is no {entity} {name}: import or create it first (`homeward admin {entity} create`)"
    )
}
