//! The import of gateways that are hybrid devices. They are a kind of their own, for they refer to
//! networks, which refer to gateways: they come last.

use homeward_model::{LookupForm, Name, Secret};
use homeward_store::{GatewayChange, NewGateway};

use super::records::{Seen, differs, no_such, read_status, update, write_all};
use super::sheet::parsed;
use super::{Import, Step};
use crate::admin::{Context, spelling};

pub(super) async fn devices(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<()> {
    let mut plan = Vec::new();
    let (mut names, mut macs) = (Seen::new(), Seen::new());
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let name = r.need("name", parsed::<Name>);
        let (account, ssid) = (r.need("account", parsed::<Name>), r.need("ssid", spelling::ssid));
        let (mac, place, operator) =
            (r.need("mac", parsed), r.need("place", parsed), r.need("operator", parsed));
        let status = read_status(&mut r);
        let (Some(name), Some(account), Some(ssid)) = (name, account, ssid) else { continue };
        let (Some(mac), Some(place), Some(operator)) = (mac, place, operator) else { continue };
        names.once(name.clone(), row, &mut r, "name");
        macs.once(mac, row, &mut r, "mac");
        let Some(owner) = cx.store.account_named(&account).await? else {
            r.problem("account", no_such("account", &account));
            continue;
        };
        let path = format!("{account}/{}", spelling::show_ssid(&ssid));
        let Some(home) = cx.store.network_of(owner.id, ssid).await? else {
            r.problem("ssid", format!("there is no network {path}: import or create it first"));
            continue;
        };
        let step = match cx.store.gateway_named(&name).await? {
            None => Step::Create(NewGateway {
                name,
                mac,
                place,
                operator,
                address: None,
                radius_secret: Secret::default(),
                lookup: LookupForm::default(),
                status: status.unwrap_or_default(),
                device_of: Some(home.id),
                site: None,
            }),
            Some(old) if old.device_of != Some(home.id) => {
                let what = if old.device_of.is_some() { "of another network" } else { "a gateway" };
                let problem = format!(
                    "{name} is {what}, which does not change: delete it before it can be a hybrid \
                     device of {path}"
                );
                r.problem("name", problem);
                continue;
            }
            Some(old) => {
                import.may_update(row.line, "name", format_args!("hybrid device {name}"));
                update(
                    old.id,
                    GatewayChange {
                        mac: differs(mac, &old.mac),
                        place: differs(place, &old.place),
                        operator: differs(operator, &old.operator),
                        status: status.and_then(|status| differs(status, &old.status)),
                        ..GatewayChange::default()
                    },
                )
            }
        };
        plan.push((row.line, step));
    }
    write_all!(import, cx, plan, create_gateway, update_gateway);
}
