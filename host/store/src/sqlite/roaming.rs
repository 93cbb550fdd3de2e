//! Roaming records: the join.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{DeviceId, Gateway, GatewayId, Mac, RoamingRecord, Ssid};
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::row::{
    Columns, account_columns, class_columns, device_columns, gateway_columns, network_columns,
};
use crate::change::Page;
use crate::error::Result;
use crate::store::{Roaming, Scope};

/// All columns of a roaming record, and the join up to its WHERE.
macro_rules! select {
    () => {
        concat!(
            "SELECT ",
            device_columns!(),
            ", ",
            network_columns!(),
            ", ",
            account_columns!(),
            ", ",
            class_columns!(),
            ", ",
            gateway_columns!(),
            " FROM device d JOIN network n ON n.id = d.network \
             JOIN account a ON a.id = n.account JOIN class c ON c.id = a.class \
             LEFT JOIN gateway g ON g.id = n.gateway WHERE "
        )
    };
}

/// One page of a scope. The unary plus keeps SQLite from walking all devices in the order of
/// their identifiers to find the few of one account.
macro_rules! page {
    ($scope:literal) => {
        concat!(select!(), $scope, " AND +d.id > ? ORDER BY +d.id LIMIT ?")
    };
}

const AT: &str = concat!(select!(), "d.mac = ? AND n.ssid = ? ORDER BY d.id");
const ALL: &str = concat!(select!(), "d.id > ? ORDER BY d.id LIMIT ?");
const OF_CLASS: &str = page!("c.id = ?");
const OF_ACCOUNT: &str = page!("a.id = ?");
const OF_GATEWAY: &str = page!("n.gateway = ?");
const OF_NETWORK: &str = page!("n.id = ?");
const OF_DEVICE: &str = page!("d.id = ?");

#[async_trait]
impl Roaming for SqliteStore {
    async fn roaming_record(&self, mac: Mac, ssid: Ssid) -> Result<Vec<RoamingRecord>> {
        let query = sqlx::query(AT).bind(mac.octets().to_vec()).bind(ssid.as_bytes());
        self.join(&query.fetch_all(&self.readers).await?)
    }

    async fn roaming_records(
        &self,
        scope: Scope,
        page: Page<DeviceId>,
    ) -> Result<Vec<RoamingRecord>> {
        let query = match scope {
            Scope::All => sqlx::query(ALL),
            Scope::Class(id) => sqlx::query(OF_CLASS).bind(id.0),
            Scope::Account(id) => sqlx::query(OF_ACCOUNT).bind(id.0),
            Scope::Gateway(id) => sqlx::query(OF_GATEWAY).bind(id.0),
            Scope::Network(id) => sqlx::query(OF_NETWORK).bind(id.0),
            Scope::Device(id) => sqlx::query(OF_DEVICE).bind(id.0),
        };
        let query = query.bind(page.after.map_or(i64::MIN, |id| id.0)).bind(page.limit);
        self.join(&query.fetch_all(&self.readers).await?)
    }
}

impl SqliteStore {
    /// Reads joined rows. A home gateway's secret is opened once per page, not once per device.
    fn join(&self, rows: &[SqliteRow]) -> Result<Vec<RoamingRecord>> {
        let mut homes: BTreeMap<GatewayId, Gateway> = BTreeMap::new();
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let mut columns = Columns::of(row);
            let device = columns.device()?.open(&self.sealer)?;
            let (network, account) = (columns.network()?, columns.account()?);
            let class = columns.class()?;
            let home = match network.gateway.and_then(|id| homes.get(&id)) {
                Some(known) => Some(known.clone()),
                None => {
                    let home = columns.optional_gateway()?;
                    let home = home.map(|g| g.open(&self.sealer)).transpose()?;
                    homes.extend(home.iter().map(|g| (g.id, g.clone())));
                    home
                }
            };
            records.push(RoamingRecord { device, network, account, class, home });
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::testing;

    /// The first table of each join, with how SQLite goes about it.
    #[tokio::test]
    async fn no_statement_walks_all_devices_for_a_few() {
        let (_directory, store) = testing::empty().await;
        for (statement, first) in [
            (AT, "SEARCH d USING INDEX device_mac (mac=?)"),
            (ALL, "SEARCH d USING INTEGER PRIMARY KEY (rowid>?)"),
            (OF_CLASS, "SEARCH a USING INDEX account_class (class=?)"),
            (OF_ACCOUNT, "SEARCH a USING INTEGER PRIMARY KEY (rowid=?)"),
            (OF_GATEWAY, "SEARCH n USING INDEX network_gateway (gateway=?)"),
            (OF_NETWORK, "SEARCH n USING INTEGER PRIMARY KEY (rowid=?)"),
            (OF_DEVICE, "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)"),
        ] {
            let plan = testing::plan(&store, statement).await;
            assert_eq!(plan[0], first, "{plan:#?}");
            assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{plan:#?}");
            let sorts = plan.iter().any(|step| step.contains("B-TREE"));
            assert!(!sorts || statement != ALL, "{plan:#?}");
        }
    }
}
