//! Which gateway devices go to from which: learned from their moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{GatewayId, Instant};

/// Moves from gateway to gateway, each counting half as much after every half-life.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<GatewayId, Node>,
    /// The nodes by when they were last added to, to forget the oldest.
    order: BTreeSet<(Instant, GatewayId)>,
}

#[derive(Debug, Default)]
struct Node {
    touched: Instant,
    edges: BTreeMap<GatewayId, Edge>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    weight: f64,
    at: Instant,
}

/// How much of a weight is left after `age`.
pub(super) fn decayed(weight: f64, age: Duration, half_life: Duration) -> f64 {
    weight * (-age.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

impl Graph {
    /// Counts a move. `nodes` and `edges` (of one node) are the most that are kept.
    pub(super) fn count(
        &mut self,
        pair: (GatewayId, GatewayId),
        half_life: Duration,
        most: (usize, usize),
        now: Instant,
    ) {
        self.add(pair, 1.0, half_life, most, now);
    }

    /// Counts as much as `weight` moves, now.
    pub(super) fn add(
        &mut self,
        (from, to): (GatewayId, GatewayId),
        weight: f64,
        half_life: Duration,
        (nodes, edges): (usize, usize),
        now: Instant,
    ) {
        if nodes == 0 || edges == 0 {
            return;
        }
        if !self.nodes.contains_key(&from)
            && self.nodes.len() >= nodes
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.nodes.remove(&oldest);
        }
        let node = self.nodes.entry(from).or_default();
        self.order.remove(&(node.touched, from));
        node.touched = now;
        self.order.insert((now, from));
        if !node.edges.contains_key(&to) && node.edges.len() >= edges {
            let left = |e: &Edge| decayed(e.weight, now.since(e.at), half_life);
            let weakest = node.edges.iter().min_by(|a, b| left(a.1).total_cmp(&left(b.1)));
            if let Some(weakest) = weakest.map(|(id, _)| *id) {
                node.edges.remove(&weakest);
            }
        }
        let edge = node.edges.entry(to).or_insert(Edge { weight: 0.0, at: now });
        edge.weight = decayed(edge.weight, now.since(edge.at), half_life) + weight;
        edge.at = now;
    }

    /// Where devices went from there, and how much each counts now.
    pub(super) fn from(
        &self,
        gateway: GatewayId,
        half_life: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (GatewayId, f64)> {
        let edges = self.nodes.get(&gateway).into_iter().flat_map(|node| &node.edges);
        edges.map(move |(to, edge)| (*to, decayed(edge.weight, now.since(edge.at), half_life)))
    }

    /// All pairs that were counted after `since`: how much each counted then, and when that was.
    pub(super) fn counted_after(
        &self,
        since: Instant,
    ) -> impl Iterator<Item = ((GatewayId, GatewayId), f64, Instant)> {
        let nodes = self.nodes.iter().filter(move |(_, node)| node.touched > since);
        let edges = nodes.flat_map(|(from, node)| node.edges.iter().map(|(to, e)| (*from, *to, e)));
        edges
            .filter(move |(_, _, edge)| edge.at > since)
            .map(|(from, to, edge)| ((from, to), edge.weight, edge.at))
    }

    /// How many gateways, and how many edges in all.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.nodes.values().map(|node| node.edges.len()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_LIFE: Duration = Duration::from_secs(100);
    const A: GatewayId = GatewayId(1);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn from_a(graph: &Graph, now: Instant) -> Vec<(i64, f64)> {
        graph.from(A, HALF_LIFE, now).map(|(to, weight)| (to.0, weight)).collect()
    }

    #[test]
    fn a_move_counts_half_after_the_half_life() {
        let mut graph = Graph::default();
        graph.count((A, GatewayId(2)), HALF_LIFE, (9, 9), at(0));
        graph.count((A, GatewayId(2)), HALF_LIFE, (9, 9), at(100));
        graph.count((A, GatewayId(3)), HALF_LIFE, (9, 9), at(100));
        assert_eq!(from_a(&graph, at(100)), [(2, 1.5), (3, 1.0)]);
        assert_eq!(from_a(&graph, at(300)), [(2, 0.375), (3, 0.25)]);
    }

    #[test]
    fn what_was_counted_since_is_told_and_what_is_added_decays_like_the_rest() {
        let mut graph = Graph::default();
        graph.add((A, GatewayId(2)), 0.5, HALF_LIFE, (9, 9), at(10));
        graph.add((A, GatewayId(3)), 4.0, HALF_LIFE, (9, 9), at(10));
        assert_eq!(graph.counted_after(at(10)).count(), 0);
        graph.count((A, GatewayId(3)), HALF_LIFE, (9, 9), at(110));
        let told: Vec<_> = graph.counted_after(at(10)).collect();
        assert_eq!(told, [((A, GatewayId(3)), 3.0, at(110))]);
        assert_eq!(from_a(&graph, at(110)), [(2, 0.25), (3, 3.0)]);
    }

    #[test]
    fn the_weakest_edge_and_the_oldest_node_go_when_there_is_no_room() {
        let mut graph = Graph::default();
        for to in [2, 2, 3, 4] {
            graph.count((A, GatewayId(to)), HALF_LIFE, (2, 2), at(to as u64));
        }
        let kept: Vec<i64> = from_a(&graph, at(4)).iter().map(|(to, _)| *to).collect();
        assert_eq!(kept, [2, 4], "two moves outweigh one, and the new edge has its chance");
        graph.count((GatewayId(8), A), HALF_LIFE, (2, 2), at(5));
        graph.count((GatewayId(9), A), HALF_LIFE, (2, 2), at(6));
        assert_eq!((from_a(&graph, at(6)), graph.size()), (vec![], (2, 2)));
    }
}
