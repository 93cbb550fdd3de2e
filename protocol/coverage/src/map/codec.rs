//! A map in octets, and back. The form is described [above](super).

use homeward_model::UnixTime;
use ring::digest;

use super::{BssidHash, Map, MapGateway, Tile};
use crate::geo::{TileKey, ZOOM};

const MAGIC: &[u8; 4] = b"HWCM";
const VERSION: u8 = 1;
/// Octets of the checksum.
const SUM: usize = 8;
/// The bit of a range that says that a hash follows.
const HASHED: u16 = 1 << 15;
/// The farthest that a gateway may be heard, in metres.
pub(super) const MOST_RANGE: u16 = HASHED - 1;

/// How large a map may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets.
    pub octets: usize,
    /// Tiles with a gateway in them.
    pub tiles: u32,
    /// Gateways.
    pub gateways: u32,
}

impl Default for Limits {
    /// 4 MiB: 400,000 gateways, in as many as 65,536 tiles.
    fn default() -> Self {
        Self { octets: 4 << 20, tiles: 65_536, gateways: 500_000 }
    }
}

/// What is wrong with a map, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// It ends too soon.
    #[error("the map ends after {have} octets: it was cut, fetch it again")]
    Short {
        /// How many octets there are.
        have: usize,
    },
    /// It is none.
    #[error("no coverage map: it does not begin with HWCM")]
    Magic,
    /// A later version.
    #[error("a coverage map of version {0}; this reads version 1")]
    Version(u8),
    /// Tiles of another size.
    #[error("tiles of zoom {0}; version 1 has zoom 15")]
    Zoom(u8),
    /// Octets that have to be zero are not.
    #[error("reserved octets are {0:#06x}, not 0")]
    Reserved(u16),
    /// It was mangled.
    #[error("the map's checksum is wrong: it was mangled, fetch it again")]
    Checksum,
    /// It is longer than it says.
    #[error("{0} octets after the last tile")]
    Trailing(usize),
    /// It is larger than the limits let it be.
    #[error(
        "{count} {what}, and the limit is {limit}: fetch a part of the map, or raise the limit"
    )]
    Large {
        /// Of what there is too much.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A tile that is none.
    #[error("{0} is no tile of zoom 15")]
    Tile(u32),
    /// Tiles or gateways that do not ascend, or a tile without any.
    #[error("tile {tile} is empty, or out of order, or its gateways are")]
    Order {
        /// The tile.
        tile: u32,
    },
    /// A gateway that nobody hears, or that is heard too far.
    #[error("a range of {range} m: give 1 to 32767")]
    Range {
        /// In metres.
        range: u16,
    },
    /// More gateways in a tile than there is room for.
    #[error("more than 65535 gateways in tile {tile}")]
    Crowded {
        /// The tile.
        tile: u32,
    },
    /// It is over before it begins.
    #[error("issued {issued}, and expires {expires}, which is not later")]
    Times {
        /// When it was issued.
        issued: UnixTime,
        /// When it expires.
        expires: UnixTime,
    },
}

/// What is still to be read.
struct Reader<'a> {
    rest: &'a [u8],
    have: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MapError> {
        let (octets, rest) =
            self.rest.split_first_chunk().ok_or(MapError::Short { have: self.have })?;
        self.rest = rest;
        Ok(*octets)
    }

    fn u16(&mut self) -> Result<u16, MapError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MapError> {
        self.take().map(u32::from_be_bytes)
    }
}

/// Those octets with their checksum behind them.
pub(crate) fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &sum(body)].concat()
}

fn sum(octets: &[u8]) -> [u8; SUM] {
    let whole = digest::digest(&digest::SHA256, octets);
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

impl Map {
    /// The map in octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(44 + 6 * self.tiles.len() + 10 * self.len());
        octets.extend_from_slice(MAGIC);
        octets.extend_from_slice(&[VERSION, ZOOM, 0, 0]);
        octets.extend_from_slice(&self.salt);
        octets.extend_from_slice(&self.issued.0.to_be_bytes());
        octets.extend_from_slice(&self.expires.0.to_be_bytes());
        // There are no more tiles than keys, and no more gateways in one than `new` let in.
        let count = u32::try_from(self.tiles.len()).unwrap_or(u32::MAX);
        octets.extend_from_slice(&count.to_be_bytes());
        for tile in &self.tiles {
            octets.extend_from_slice(&u32::from(tile.key).to_be_bytes());
            let count = u16::try_from(tile.gateways.len()).unwrap_or(u16::MAX);
            octets.extend_from_slice(&count.to_be_bytes());
            for gateway in &tile.gateways {
                let hashed = if gateway.hash.is_some() { HASHED } else { 0 };
                for number in [gateway.dx, gateway.dy, gateway.range | hashed] {
                    octets.extend_from_slice(&number.to_be_bytes());
                }
                if let Some(BssidHash(hash)) = gateway.hash {
                    octets.extend_from_slice(&hash.to_be_bytes());
                }
            }
        }
        sealed(&octets)
    }

    /// Reads a map. It allocates no more than the octets that are there can fill.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong.
    pub fn decode(octets: &[u8], limits: &Limits) -> Result<Self, MapError> {
        let large = |what, count, limit| Err(MapError::Large { what, count, limit });
        if octets.len() > limits.octets {
            return large("octets", octets.len(), limits.octets);
        }
        if !octets.starts_with(MAGIC) {
            return Err(MapError::Magic);
        }
        let have = octets.len();
        let (body, end) = octets.split_last_chunk::<SUM>().ok_or(MapError::Short { have })?;
        let mut reader = Reader { rest: body, have };
        let [.., version, zoom] = reader.take::<6>()?;
        // Before the checksum: a later version may have another.
        if version != VERSION {
            return Err(MapError::Version(version));
        }
        if sum(body) != *end {
            return Err(MapError::Checksum);
        }
        if zoom != ZOOM {
            return Err(MapError::Zoom(zoom));
        }
        let reserved = reader.u16()?;
        if reserved != 0 {
            return Err(MapError::Reserved(reserved));
        }
        let salt = reader.take()?;
        let issued = UnixTime(i64::from_be_bytes(reader.take()?));
        let expires = UnixTime(i64::from_be_bytes(reader.take()?));
        if expires <= issued {
            return Err(MapError::Times { issued, expires });
        }
        let count = reader.u32()?;
        if count > limits.tiles {
            return large("tiles", count as usize, limits.tiles as usize);
        }
        let mut tiles: Vec<Tile> = Vec::new();
        let mut gateways = 0;
        for _ in 0..count {
            let number = reader.u32()?;
            let key = TileKey::try_from(number).map_err(|_| MapError::Tile(number))?;
            let out_of_order = tiles.last().is_some_and(|before| before.key >= key);
            let count = usize::from(reader.u16()?);
            if out_of_order || count == 0 {
                return Err(MapError::Order { tile: number });
            }
            gateways += count;
            if gateways > limits.gateways as usize {
                return large("gateways", gateways, limits.gateways as usize);
            }
            tiles.push(Tile { key, gateways: tile(&mut reader, number, count)? });
        }
        match reader.rest.len() {
            0 => Ok(Self::of(salt, issued, expires, tiles)),
            rest => Err(MapError::Trailing(rest)),
        }
    }
}

fn tile(reader: &mut Reader<'_>, number: u32, count: usize) -> Result<Vec<MapGateway>, MapError> {
    let mut gateways: Vec<MapGateway> = Vec::with_capacity(count.min(reader.rest.len() / 6));
    for _ in 0..count {
        let (dx, dy, range) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let hash = match range & HASHED {
            0 => None,
            _ => Some(BssidHash(reader.u32()?)),
        };
        let range = range & !HASHED;
        if range == 0 {
            return Err(MapError::Range { range });
        }
        let gateway = MapGateway { dx, dy, range, hash };
        if gateways.last().is_some_and(|before| *before >= gateway) {
            return Err(MapError::Order { tile: number });
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Position;
    use crate::map::Site;
    use homeward_model::Mac;
    use proptest::prelude::*;

    fn small() -> Map {
        let site = |longitude, bssid: Option<u8>| Site {
            position: Position::new(51.5, longitude).unwrap(),
            range: 60,
            bssid: bssid.map(|b| Mac::new([2, 0, 0, 0, 0, b])),
        };
        let sites = [site(-0.1, Some(1)), site(-0.1, None), site(-0.2, Some(2))];
        Map::new([7; 8], UnixTime(1000), UnixTime(2000), sites).unwrap()
    }

    /// What is found wrong with a map after `change`, whose checksum is made right again.
    fn fault(change: impl FnOnce(&mut Vec<u8>)) -> MapError {
        let mut octets = small().encode();
        octets.truncate(octets.len() - SUM);
        change(&mut octets);
        Map::decode(&sealed(&octets), &Limits::default()).unwrap_err()
    }

    #[test]
    fn octets_are_as_they_are_described() {
        let octets = small().encode();
        assert_eq!(octets[..8], *b"HWCM\x01\x0f\0\0");
        assert_eq!(octets[8..16], [7; 8]);
        assert_eq!(
            octets[16..32],
            [[0, 0, 0, 0, 0, 0, 3, 232], [0, 0, 0, 0, 0, 0, 7, 208]].concat()
        );
        assert_eq!(octets[32..36], [0, 0, 0, 2]);
        // The tile in the west has one gateway with a hash, the other two.
        assert_eq!(octets[40..42], [0, 1]);
        assert_eq!(octets[46..48], [0x80, 60]);
        assert_eq!(octets.len(), 36 + (6 + 10) + (6 + 6 + 10) + SUM);
        assert_eq!(Map::decode(&octets, &Limits::default()), Ok(small()));
    }

    #[test]
    fn each_octet_that_is_changed_and_each_cut_is_noticed() {
        let octets = small().encode();
        for at in 0..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            assert!(Map::decode(&changed, &Limits::default()).is_err(), "{at}");
            assert!(Map::decode(&octets[..at], &Limits::default()).is_err(), "{at}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_map_is_named() {
        assert_eq!(fault(|o| o[0] = b'h'), MapError::Magic);
        assert_eq!(fault(|o| o[4] = 2), MapError::Version(2));
        assert_eq!(fault(|o| o[5] = 14), MapError::Zoom(14));
        assert_eq!(fault(|o| o[7] = 1), MapError::Reserved(1));
        assert!(matches!(fault(|o| o[30] = 0), MapError::Times { .. }));
        assert_eq!(fault(|o| o.push(0)), MapError::Trailing(1));
        assert_eq!(fault(|o| o[35] = 3), MapError::Short { have: 82 });
        assert!(matches!(fault(|o| o[36] = 0x40), MapError::Tile(_)));
        assert!(matches!(fault(|o| o[41] = 0), MapError::Order { .. }));
        assert_eq!(fault(|o| o[47] = 0), MapError::Range { range: 0 });
        // The second tile before the first.
        assert!(matches!(fault(|o| o[36..40].fill(0x3f)), MapError::Order { .. }));
        // A gateway twice.
        let twice = |o: &mut Vec<u8>| {
            let first: Vec<u8> = o[42..52].to_vec();
            o.splice(52..52, first);
            o[41] = 2;
        };
        assert!(matches!(fault(twice), MapError::Order { .. }));
    }

    #[test]
    fn a_map_beyond_a_limit_is_refused_and_one_at_it_is_read() {
        let octets = small().encode();
        let exact = Limits { octets: octets.len(), tiles: 2, gateways: 3 };
        assert!(Map::decode(&octets, &exact).is_ok());
        for (limits, of) in [
            (Limits { octets: octets.len() - 1, ..exact }, "octets"),
            (Limits { tiles: 1, ..exact }, "tiles"),
            (Limits { gateways: 2, ..exact }, "gateways"),
        ] {
            let error = Map::decode(&octets, &limits).unwrap_err();
            assert!(matches!(error, MapError::Large { what, .. } if what == of), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_map_survives_its_octets(
            salt: [u8; 8],
            issued in any::<i64>().prop_filter("later", |at| *at < i64::MAX),
            sites in proptest::collection::vec(
                (-85.0..85.0, -180.0..180.0, 1u16..32_768, any::<Option<[u8; 6]>>()), 0..60,
            ),
        ) {
            let sites = sites.into_iter().map(|(latitude, longitude, range, bssid)| Site {
                position: Position::new(latitude, longitude).unwrap(),
                range,
                bssid: bssid.map(Mac::new),
            });
            let map = Map::new(salt, UnixTime(issued), UnixTime(i64::MAX), sites).unwrap();
            let octets = map.encode();
            prop_assert_eq!(Map::decode(&octets, &Limits::default()), Ok(map));
        }
    }
}
