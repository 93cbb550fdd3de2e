//! Who takes part, and where: what the scene is drawn from.

use serde::{Deserialize, Serialize};

/// Who took part, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The places, from left to right.
    pub places: Vec<Place>,
    /// What stands, or stood first, at those places.
    pub nodes: Vec<Node>,
    /// Wires between nodes.
    pub links: Vec<Link>,
    /// The [`Place::id`]s that the station visits, in order.
    pub walk: Vec<String>,
}

/// A place of the scene.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What [`Node::place`] and [`Topology::walk`] refer to.
    pub id: String,
    /// What people read, e.g. `Home`.
    pub name: String,
    /// What kind of place it is.
    pub kind: PlaceKind,
}

/// Kinds of [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// A house with a gateway, whose radio reaches around it.
    House,
    /// The operator's machine room: no radio.
    Operator,
}

/// Somebody or something that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What people read, and what [`Link`] refers to. Unique.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The [`Place::id`] where it stands, or starts.
    pub place: String,
    /// The SSIDs that it put on the air; those made for guests after its own.
    pub ssids: Vec<String>,
    /// A few words more; may be empty.
    pub detail: String,
}

/// Kinds of [`Node`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// The station that walks from one place to the next.
    Walker,
    /// A gateway, with the radio whose reach is drawn.
    Gateway,
    /// The operator's core.
    Core,
    /// A station of a gateway's owner.
    Owner,
    /// A station that is to be refused.
    Stranger,
}

/// A wire between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The [`Node::name`] of one end.
    pub from: String,
    /// The [`Node::name`] of the other.
    pub to: String,
    /// What runs over it, e.g. `RADIUS`.
    pub label: String,
}
