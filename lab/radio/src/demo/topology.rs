//! Who took part in the demo, and where.

use super::{OWNERS_SSID, SSID, THIRD_SSID};
use crate::report::{Link, Node, NodeKind, Place, PlaceKind, Topology};

/// The scene; `served` says whether the strangers' gateways had the phone's SSID on the air.
pub(super) fn topology(served: bool) -> Topology {
    let place = |id: &str, name: &str, kind| Place { id: id.into(), name: name.into(), kind };
    let node = |name: &str, kind, place: &str, ssids: &[&str], detail: &str| Node {
        name: name.into(),
        kind,
        place: place.into(),
        ssids: ssids.iter().map(|s| (*s).into()).collect(),
        detail: detail.into(),
    };
    let to_core = |from: &str| Link {
        from: from.into(),
        to: "core".into(),
        label: "RADIUS, control channel".into(),
    };
    let guests = |own: &'static str| if served { vec![own, SSID] } else { vec![own] };
    Topology {
        places: vec![
            place("home", SSID, PlaceKind::House),
            place("operator", "The operator", PlaceKind::Operator),
            place("foreign", OWNERS_SSID, PlaceKind::House),
            place("third", THIRD_SSID, PlaceKind::House),
        ],
        nodes: vec![
            node("home gateway", NodeKind::Gateway, "home", &[SSID], "gb/london/se1"),
            node("core", NodeKind::Core, "operator", &[], "records, RADIUS, controller"),
            node(
                "stranger's gateway",
                NodeKind::Gateway,
                "foreign",
                &guests(OWNERS_SSID),
                "gb/london/n7",
            ),
            node("third gateway", NodeKind::Gateway, "third", &guests(THIRD_SSID), "gb/london/e2"),
            node("phone", NodeKind::Walker, "home", &[], "knows its home SSID and its own key"),
            node("printer", NodeKind::Owner, "home", &[], "on the home LAN"),
            node("owner's TV", NodeKind::Owner, "foreign", &[], ""),
        ],
        links: ["home gateway", "stranger's gateway", "third gateway"].map(to_core).to_vec(),
        walk: ["home", "foreign", "third"].map(str::to_owned).to_vec(),
    }
}
