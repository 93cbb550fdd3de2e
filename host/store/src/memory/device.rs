//! Devices.

use async_trait::async_trait;
use homeward_model::{Device, DeviceId, Mac, NetworkId, Ssid};

use super::{MemoryStore, State, Writer};
use crate::change::{DeviceChange, DeviceFilter, NewDevice, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{DeviceFacts, OutboxRecord};
use crate::store::Devices;

#[async_trait]
impl Devices for MemoryStore {
    async fn create_device(&self, new: &NewDevice) -> Result<Device> {
        self.write(|w| create(w, new))
    }

    async fn create_devices(&self, new: &[NewDevice]) -> Result<Vec<Device>> {
        self.write(|w| {
            let (last, mark) = (w.state.devices.last, w.mark());
            let mut made = Vec::with_capacity(new.len());
            for (index, new) in new.iter().enumerate() {
                match create(w, new) {
                    Ok(device) => made.push(device),
                    Err(source) => {
                        roll_back(w.state, &made);
                        w.state.devices.last = last;
                        w.unwrite(mark);
                        return Err(Error::Batch { index, source: Box::new(source) });
                    }
                }
            }
            Ok(made)
        })
    }

    async fn update_device(&self, id: DeviceId, change: &DeviceChange) -> Result<Device> {
        self.write(|w| {
            let old = w.state.devices.need(Entity::Device, id.0)?.clone();
            let key = change.key.as_ref().unwrap_or(&old.key).clone();
            let mut facts = DeviceFacts::from(&old);
            change.apply(&mut facts);
            fits(w.state, &facts)?;
            let device = facts.clone().with_key(key);
            if *change != DeviceChange::default() {
                w.state.device_macs.remove(&(old.mac, old.network));
                w.state.device_macs.insert((device.mac, device.network), id);
                w.state.devices.rows.insert(id.0, device.clone());
                let secret = change.key.as_ref().map(|_| "key_itself");
                let before = OutboxRecord::Device((&old).into());
                w.updated(before, OutboxRecord::Device(facts), secret);
            }
            Ok(device)
        })
    }

    async fn device(&self, id: DeviceId) -> Result<Option<Device>> {
        Ok(self.read().devices.get(id.0).cloned())
    }

    async fn device_in(&self, network: NetworkId, mac: Mac) -> Result<Option<Device>> {
        let state = self.read();
        let id = state.device_macs.get(&(mac, network));
        Ok(id.and_then(|id| state.devices.get(id.0)).cloned())
    }

    async fn devices_at(&self, mac: Mac, ssid: Ssid) -> Result<Vec<Device>> {
        let state = self.read();
        let here = |d: &&Device| state.networks.get(d.network.0).is_some_and(|n| n.ssid == ssid);
        Ok(state.devices_with(mac).into_iter().filter(here).cloned().collect())
    }

    async fn devices(&self, filter: &DeviceFilter, page: Page<DeviceId>) -> Result<Vec<Device>> {
        let state = self.read();
        let account = |d: &Device| state.networks.get(d.network.0).map(|n| n.account);
        Ok(state.devices.page(page.after.map(|id| id.0), page.limit, |d| {
            filter.account.is_none_or(|a| account(d) == Some(a))
                && filter.network.is_none_or(|n| n == d.network)
                && filter.mac.is_none_or(|m| m == d.mac)
                && filter.status.is_none_or(|s| s == d.status)
        }))
    }

    async fn delete_device(&self, id: DeviceId) -> Result<bool> {
        self.write(|w| Ok(remove(w, id)))
    }
}

fn create(w: &mut Writer<'_>, new: &NewDevice) -> Result<Device> {
    let facts = new.facts(DeviceId(w.state.devices.last + 1));
    fits(w.state, &facts)?;
    let device = facts.clone().with_key(new.key.clone());
    w.state.devices.next();
    w.state.device_macs.insert((device.mac, device.network), device.id);
    w.state.network_devices.insert((device.network, device.id));
    w.state.devices.rows.insert(device.id.0, device.clone());
    w.created(OutboxRecord::Device(facts));
    Ok(device)
}

/// Removes a device.
pub(super) fn remove(w: &mut Writer<'_>, id: DeviceId) -> bool {
    let Some(device) = w.state.devices.rows.remove(&id.0) else { return false };
    unindex(w.state, &device);
    w.deleted(OutboxRecord::Device((&device).into()));
    true
}

fn roll_back(state: &mut State, made: &[Device]) {
    for device in made {
        state.devices.rows.remove(&device.id.0);
        unindex(state, device);
    }
}

fn unindex(state: &mut State, device: &Device) {
    state.device_macs.remove(&(device.mac, device.network));
    state.network_devices.remove(&(device.network, device.id));
}

fn fits(state: &State, new: &DeviceFacts) -> Result<()> {
    check::device(new.mac, &new.label)?;
    let network = state.networks.need(Entity::Network, new.network.0)?;
    check::key(new.network, network.security, new.key)?;
    match state.device_macs.get(&(new.mac, new.network)) {
        Some(by) if *by != new.id => {
            Err(Error::DeviceTaken { network: new.network, mac: new.mac, by: *by })
        }
        _ => Ok(()),
    }
}
