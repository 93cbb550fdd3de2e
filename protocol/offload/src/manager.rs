//! The device's side: when it asks, joins, moves and comes back.
