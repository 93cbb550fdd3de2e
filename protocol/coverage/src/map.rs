//! The operator's gateways, as a set of tiles that a device has with it.
//!
//! # Octets
//!
//! Numbers are big-endian; [`codec`] has the code.
//!
//! | octets | what |
//! |---|---|
//! | 4 | `HWCM` |
//! | 1 | version: 1 |
//! | 1 | zoom of the tiles: 15 |
//! | 2 | reserved: 0 |
//! | 8 | salt of the BSSIDs' hashes |
//! | 8 | issued: milliseconds since 1970, signed |
//! | 8 | expires: likewise, later |
//! | 4 | how many tiles follow |
//! | … | tiles, their keys ascending: 4 octets [`TileKey`], 2 octets how many gateways (1 or more), gateways ascending |
//! | 8 | the first octets of the SHA-256 of all before |
//!
//! A gateway is 6 octets, or 10: 2 east and 2 south of the tile's north-western corner, in 65,536ths
//! of the tile's width (2 cm); 2 with the range in metres (1 to 32,767), whose highest bit says that 4
//! with the BSSID's hash follow. 100,000 gateways are 1 MB. There is one way to write a map: the
//! same gateways are the same octets, whatever order they were given in.
//!
//! The checksum finds what was cut or mangled; it is no signature. Whom the map is from says the way
//! that it came: TLS, from the operator's server. A hash, the first 4 octets of SHA-256 over a label,
//! the salt and the BSSID, keeps a map from being a list of BSSIDs at a glance; whoever hears a BSSID
//! can look it up, and is meant to.
//!
//! # What the server learns of a device
//!
//! A device that asks for the tile it stands in tells where it stands. So it never asks by tile:
//!
//! - **The whole set**, where that is small enough ([`Limits`]): a town, most countries. The server
//!   learns nothing. This is what a device does unless it is told otherwise.
//! - **A region with its neighbours**: [`TileKey::region`] at zoom 8 (100 to 156 km wide) or less, and
//!   always [`Region::neighbourhood`] with it, all nine in the order of their numbers and in one
//!   request. The server learns which region is the middle one, which the device's address tells
//!   it anyhow. With the neighbours in hand, no step over a border makes a request; the next is made
//!   when the map nears its end, at a time of chance, or when the device is somewhere that is in none
//!   of the nine.
//!
//! What the predictor finds out of the map (a gateway that is gone, say) stays on the device.

use homeward_model::{Mac, UnixTime};
use ring::digest;

use crate::geo::{Offset, Position, Region, TileKey};

pub mod codec;

pub use codec::{Limits, MapError};

/// What the hash of a BSSID is over, before salt and BSSID.
const LABEL: &[u8] = b"homeward coverage bssid";

/// The hash of a BSSID in a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BssidHash(pub u32);

impl BssidHash {
    /// That of a BSSID, in the map with that salt.
    pub fn of(bssid: Mac, salt: [u8; 8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(LABEL);
        context.update(&salt);
        context.update(&bssid.octets());
        let whole = context.finish();
        Self(u32::from_be_bytes(whole.as_ref().first_chunk().copied().unwrap_or_default()))
    }
}

/// A gateway that goes into a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Where it is.
    pub position: Position,
    /// How far it is heard well enough to be used, in metres: 1 to 32,767.
    pub range: u16,
    /// The BSSID that it serves roamers by, where the map is to know it again.
    pub bssid: Option<Mac>,
}

/// A gateway in a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapGateway {
    pub(crate) dx: u16,
    pub(crate) dy: u16,
    pub(crate) range: u16,
    pub(crate) hash: Option<BssidHash>,
}

impl MapGateway {
    /// How far it is heard, in metres.
    pub const fn range(&self) -> u16 {
        self.range
    }

    /// The hash of its BSSID.
    pub const fn hash(&self) -> Option<BssidHash> {
        self.hash
    }

    /// Where it is, in the tile that it is of.
    pub fn position(&self, tile: TileKey) -> Position {
        Position::of_tile(tile, self.dx, self.dy)
    }
}

/// The gateways of a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    pub(crate) key: TileKey,
    pub(crate) gateways: Vec<MapGateway>,
}

impl Tile {
    /// Its number.
    pub const fn key(&self) -> TileKey {
        self.key
    }

    /// Its gateways.
    pub fn gateways(&self) -> &[MapGateway] {
        &self.gateways
    }
}

/// A gateway seen from somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// The way to it.
    pub way: Offset,
    /// How far it is heard, in metres.
    pub range: f64,
    /// The hash of its BSSID.
    pub hash: Option<BssidHash>,
}

/// The map. `Debug` shows its size.
#[derive(Clone, PartialEq, Eq)]
pub struct Map {
    pub(crate) salt: [u8; 8],
    pub(crate) issued: UnixTime,
    pub(crate) expires: UnixTime,
    /// Ascending by their keys, none twice, none empty.
    tiles: Vec<Tile>,
    /// The farthest that any gateway is heard.
    most_range: u16,
}

impl Map {
    /// The map of those gateways. `salt` is any octets, others for each operator.
    ///
    /// # Errors
    ///
    /// If it expires before it is issued, a range is none, or a tile has more than 65,535 gateways.
    pub fn new(
        salt: [u8; 8],
        issued: UnixTime,
        expires: UnixTime,
        sites: impl IntoIterator<Item = Site>,
    ) -> Result<Self, MapError> {
        if expires <= issued {
            return Err(MapError::Times { issued, expires });
        }
        let mut all = Vec::new();
        for site in sites {
            if !(1..=codec::MOST_RANGE).contains(&site.range) {
                return Err(MapError::Range { range: site.range });
            }
            let (key, dx, dy) = site.position.in_tile();
            let hash = site.bssid.map(|bssid| BssidHash::of(bssid, salt));
            all.push((key, MapGateway { dx, dy, range: site.range, hash }));
        }
        all.sort_unstable();
        all.dedup();
        let mut tiles: Vec<Tile> = Vec::new();
        for (key, gateway) in all {
            match tiles.last_mut().filter(|tile| tile.key == key) {
                Some(tile) if tile.gateways.len() == usize::from(u16::MAX) => {
                    return Err(MapError::Crowded { tile: key.into() });
                }
                Some(tile) => tile.gateways.push(gateway),
                None => tiles.push(Tile { key, gateways: vec![gateway] }),
            }
        }
        Ok(Self::of(salt, issued, expires, tiles))
    }

    /// When it was issued.
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// From when on it is good no longer.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The salt of its hashes.
    pub const fn salt(&self) -> [u8; 8] {
        self.salt
    }

    /// Its tiles, by their keys.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// How many gateways it has.
    pub fn len(&self) -> usize {
        self.tiles.iter().map(|tile| tile.gateways.len()).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// The part of it in some regions: what a server answers.
    pub fn part(&self, regions: &[Region]) -> Self {
        let wanted = |tile: &&Tile| regions.iter().any(|region| region.holds(tile.key));
        let tiles = self.tiles.iter().filter(wanted).cloned().collect();
        Self::of(self.salt, self.issued, self.expires, tiles)
    }

    /// The gateways whose range comes within `reach` metres of a place, or that are themselves so
    /// near, in no order.
    pub fn near(&self, place: Position, reach: f64) -> Vec<Near> {
        let mut near = Vec::new();
        let mut look = |tile: &Tile| {
            for gateway in &tile.gateways {
                let way = place.to(gateway.position(tile.key));
                let range = f64::from(gateway.range);
                if way.length() <= reach + range {
                    near.push(Near { way, range, hash: gateway.hash });
                }
            }
        };
        let most = f64::from(self.most_range);
        let corner = |east: f64, north: f64| {
            let by = Offset { east: east * (reach + most), north: north * (reach + most) };
            place.moved(by).map(|place| place.tile().column_row())
        };
        // Columns go round the Earth, rows do not.
        if let (Some((left, top)), Some((right, bottom))) = (corner(-1.0, 1.0), corner(1.0, -1.0)) {
            let columns = right.wrapping_sub(left) % (1 << crate::geo::ZOOM) + 1;
            let rows = bottom.saturating_sub(top) + 1;
            // A box of fewer tiles than the map has is looked up, tile by tile.
            if u64::from(columns) * u64::from(rows) <= self.tiles.len() as u64 {
                for (column, row) in
                    (0..rows).flat_map(|r| (0..columns).map(move |c| (left + c, top + r)))
                {
                    if let Some(tile) = self.tile(TileKey::at(column, row)) {
                        look(tile);
                    }
                }
                return near;
            }
        }
        self.tiles.iter().for_each(look);
        near
    }

    /// Where gateways are whose BSSID has that hash: seldom more than one.
    pub fn known(&self, hash: BssidHash) -> impl Iterator<Item = (Position, u16)> {
        self.tiles.iter().flat_map(move |tile| {
            let of = tile.gateways.iter().filter(move |gateway| gateway.hash == Some(hash));
            of.map(|gateway| (gateway.position(tile.key), gateway.range))
        })
    }

    fn tile(&self, key: TileKey) -> Option<&Tile> {
        let at = self.tiles.binary_search_by_key(&key, |tile| tile.key).ok()?;
        self.tiles.get(at)
    }

    fn of(salt: [u8; 8], issued: UnixTime, expires: UnixTime, tiles: Vec<Tile>) -> Self {
        let all = tiles.iter().flat_map(|tile| &tile.gateways);
        let most_range = all.map(|gateway| gateway.range).max().unwrap_or(0);
        Self { salt, issued, expires, tiles, most_range }
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map")
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .field("tiles", &self.tiles.len())
            .field("gateways", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(sites: Vec<Site>) -> Map {
        Map::new([7; 8], UnixTime(0), UnixTime(1000), sites).unwrap()
    }

    fn site(latitude: f64, longitude: f64, range: u16) -> Site {
        let position = Position::new(latitude, longitude).unwrap();
        Site { position, range, bssid: Some(Mac::new([2, 0, 0, 0, 0, 1])) }
    }

    #[test]
    fn a_map_knows_its_gateways_by_their_bssids_hash_and_no_other() {
        let map = map(vec![site(51.5, -0.1, 60), Site { bssid: None, ..site(51.5, -0.1, 50) }]);
        let hash = BssidHash::of(Mac::new([2, 0, 0, 0, 0, 1]), map.salt());
        assert_eq!(map.known(hash).map(|(_, range)| range).collect::<Vec<_>>(), [60]);
        assert_ne!(hash, BssidHash::of(Mac::new([2, 0, 0, 0, 0, 2]), map.salt()));
        assert_ne!(hash, BssidHash::of(Mac::new([2, 0, 0, 0, 0, 1]), [8; 8]));
        assert_eq!((map.len(), map.tiles().len()), (2, 1));
    }

    #[test]
    fn the_order_that_gateways_are_given_in_makes_no_difference() {
        let sites = vec![site(51.5, -0.1, 60), site(51.51, -0.1, 60), site(51.5, -0.1, 50)];
        let turned: Vec<_> = sites.iter().rev().chain(&sites).copied().collect();
        assert_eq!(map(sites), map(turned));
    }

    #[test]
    fn what_makes_no_map_is_refused() {
        let new = |expires, range| {
            Map::new([0; 8], UnixTime(5), UnixTime(expires), [site(0.0, 0.0, range)])
        };
        assert!(matches!(new(5, 1), Err(MapError::Times { .. })));
        assert_eq!(new(6, 0), Err(MapError::Range { range: 0 }));
        assert_eq!(new(6, 32_768), Err(MapError::Range { range: 32_768 }));
        assert!(new(6, 32_767).is_ok());
    }

    #[test]
    fn a_part_has_the_tiles_of_its_regions() {
        let all = map(vec![site(51.5, -0.1, 60), site(48.1, 11.5, 60), site(-33.9, 151.2, 60)]);
        let region = Position::new(51.5, -0.1).unwrap().tile().region(8);
        let part = all.part(&region.neighbourhood());
        assert_eq!((part.len(), all.part(&[]).len()), (1, 0));
        assert_eq!(all.part(&[Region::new(0, 0).unwrap()]), all);
    }

    proptest! {
        #[test]
        fn what_is_near_is_found_wherever_tiles_end(
            latitude in -70.0..70.0, longitude in -180.0..180.0,
            ways in proptest::collection::vec((0.0..360.0, 0.0..4000.0, 1u16..400), 1..30),
            reach in 0.0..1500.0,
        ) {
            let place = Position::new(latitude, longitude).unwrap();
            let sites: Vec<_> = ways.iter().map(|&(course, metres, range)| Site {
                position: place.moved(Offset::on(course, metres)).unwrap(),
                range,
                bssid: None,
            }).collect();
            // So many more tiles that the box is looked up.
            let far = (0..900).map(|n| site(75.0, f64::from(n) / 5.0, 9));
            let small = map(sites.clone());
            let large = map(sites.iter().copied().chain(far).collect());
            let counts = [&small, &large].map(|map| map.near(place, reach).len());
            let mut wanted: Vec<_> = small.tiles().iter().flat_map(|tile| {
                tile.gateways().iter().map(|g| (place.to(g.position(tile.key())).length(), g.range))
            }).collect();
            wanted.retain(|(away, range)| *away <= reach + f64::from(*range));
            prop_assert_eq!(counts, [wanted.len(); 2]);
        }
    }
}
