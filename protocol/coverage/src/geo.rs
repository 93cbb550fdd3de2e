//! Places on the Earth, and the tiles that they lie in.

use std::f64::consts::PI;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::number::whole;

/// The Earth's mean radius, in metres (IUGG).
const RADIUS: f64 = 6_371_008.8;
/// Degrees in 10⁻⁷, as GNSS receivers count them: 1.1 cm at most.
const E7: f64 = 1e7;
/// Web Mercator ends here (EPSG:3857): there are no tiles at the poles.
const MOST_LATITUDE: i32 = 850_511_287;
/// The zoom of tiles.
pub(crate) const ZOOM: u8 = 15;
/// Tiles along the equator.
const ACROSS: u32 = 1 << ZOOM;

/// A place: WGS 84, in units of 10⁻⁷ degrees.
///
/// `Display` shows a tenth of a degree (11 km), so that no log says where a device is; the octets
/// and JSON have all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(i32, i32)", into = "(i32, i32)")]
pub struct Position {
    latitude: i32,
    longitude: i32,
}

/// Numbers that are no place with a tile.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "{latitude}, {longitude} is no place: give a latitude from -85.05 to 85.05 and a longitude from -180 to 180, in degrees"
)]
pub struct PositionError {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// The place at a latitude (-85.05 to 85.05) and a longitude (-180 to 180), in degrees.
    ///
    /// # Errors
    ///
    /// If it is none, or too near to a pole.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, PositionError> {
        let wrong = PositionError { latitude, longitude };
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return Err(wrong);
        }
        let latitude = whole(latitude * E7, -900_000_000, 900_000_000);
        let longitude = whole(longitude * E7, -1_800_000_000, 1_800_000_000);
        Self::try_from((latitude, longitude)).map_err(|_| wrong)
    }

    /// Latitude and longitude, in degrees.
    pub fn degrees(self) -> (f64, f64) {
        (f64::from(self.latitude) / E7, f64::from(self.longitude) / E7)
    }

    /// How to get from here to `other`, in metres: right to a thousandth for some tens of
    /// kilometres, and of the right size for all others.
    pub fn to(self, other: Self) -> Offset {
        let ((a, from), (b, to)) = (self.degrees(), other.degrees());
        let mut turn = to - from;
        if turn > 180.0 {
            turn -= 360.0;
        } else if turn < -180.0 {
            turn += 360.0;
        }
        let middle = ((a + b) / 2.0).to_radians();
        let east = turn.to_radians() * middle.cos() * RADIUS;
        Offset { east, north: (b - a).to_radians() * RADIUS }
    }

    /// The place at that offset from here, or none if that is too near to a pole.
    pub fn moved(self, by: Offset) -> Option<Self> {
        let (latitude, longitude) = self.degrees();
        let to = latitude + (by.north / RADIUS).to_degrees();
        let middle = ((latitude + to) / 2.0).to_radians();
        let turned = longitude + (by.east / RADIUS / middle.cos()).to_degrees();
        let turned = (turned + 180.0).rem_euclid(360.0) - 180.0;
        Self::new(to, turned).ok()
    }

    /// The tile that it lies in.
    pub fn tile(self) -> TileKey {
        self.in_tile().0
    }

    /// Its tile, and where in it: 65,536ths of the tile's width, from its north-western corner.
    pub(crate) fn in_tile(self) -> (TileKey, u16, u16) {
        let (latitude, longitude) = self.degrees();
        let across = f64::from(ACROSS);
        let x = (longitude + 180.0) / 360.0 * across;
        let y = (1.0 - latitude.to_radians().tan().asinh() / PI) / 2.0 * across;
        // The tile's number and the rest, without the last tile's end: that is the first's start.
        let cut = |value: f64| {
            let all = (value * 65_536.0).floor().clamp(0.0, across * 65_536.0 - 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "31 bits, by the clamp"
            )]
            let all = all as u32;
            (all >> 16, (all & 0xffff) as u16)
        };
        let ((x, dx), (y, dy)) = (cut(x), cut(y));
        (TileKey::at(x, y), dx, dy)
    }

    /// The place in a tile, the other way round.
    pub(crate) fn of_tile(key: TileKey, dx: u16, dy: u16) -> Self {
        let (x, y) = key.column_row();
        // Its middle, so that it lies in the tile again however it is rounded.
        let part = |n: u32, d: u16| f64::from(n) + (f64::from(d) + 0.5) / 65_536.0;
        let across = f64::from(ACROSS);
        let longitude = part(x, dx) / across * 360.0 - 180.0;
        let latitude = (PI * (1.0 - 2.0 * part(y, dy) / across)).sinh().atan().to_degrees();
        Self {
            latitude: whole(latitude * E7, -MOST_LATITUDE, MOST_LATITUDE),
            longitude: whole(longitude * E7, -1_800_000_000, 1_800_000_000),
        }
    }
}

impl TryFrom<(i32, i32)> for Position {
    type Error = PositionError;

    fn try_from((latitude, longitude): (i32, i32)) -> Result<Self, PositionError> {
        if latitude.abs_diff(0) > MOST_LATITUDE.unsigned_abs()
            || longitude.abs_diff(0) > 1_800_000_000
        {
            let (latitude, longitude) = (f64::from(latitude) / E7, f64::from(longitude) / E7);
            return Err(PositionError { latitude, longitude });
        }
        Ok(Self { latitude, longitude })
    }
}

impl From<Position> for (i32, i32) {
    fn from(position: Position) -> Self {
        (position.latitude, position.longitude)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (latitude, longitude) = self.degrees();
        write!(f, "{latitude:.1}, {longitude:.1}")
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A way in metres.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Offset {
    /// To the east.
    pub east: f64,
    /// To the north.
    pub north: f64,
}

impl Offset {
    /// So many metres on a course, in degrees from north by east.
    pub fn on(course: f64, metres: f64) -> Self {
        let (sin, cos) = course.to_radians().sin_cos();
        Self { east: metres * sin, north: metres * cos }
    }

    /// How long it is, in metres.
    pub fn length(self) -> f64 {
        self.east.hypot(self.north)
    }

    /// The course, in degrees from north by east, 0 to 360.
    pub fn course(self) -> f64 {
        self.east.atan2(self.north).to_degrees().rem_euclid(360.0)
    }
}

/// The number of a tile: column and row of Web Mercator's grid at zoom 15, their bits by turns, the
/// row's first. Tiles of a region have numbers in a row, and a coarser tile's number is what its
/// tiles' begin with (a quadkey, read in base 4).
///
/// A tile is 1,223 m wide at the equator, 760 m at 51.5°.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct TileKey(u32);

/// A number that is no tile's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no tile: numbers of zoom 15 are less than 1073741824")]
pub struct TileKeyError(u32);

impl TryFrom<u32> for TileKey {
    type Error = TileKeyError;

    fn try_from(number: u32) -> Result<Self, TileKeyError> {
        if number < 1 << (2 * ZOOM) { Ok(Self(number)) } else { Err(TileKeyError(number)) }
    }
}

impl From<TileKey> for u32 {
    fn from(key: TileKey) -> Self {
        key.0
    }
}

impl TileKey {
    pub(crate) const fn at(column: u32, row: u32) -> Self {
        Self(spread(column % ACROSS) | spread(row % ACROSS) << 1)
    }

    pub(crate) const fn column_row(self) -> (u32, u32) {
        (gather(self.0), gather(self.0 >> 1))
    }

    /// The coarser tile that it is a part of; of itself at zoom 15 or more.
    pub fn region(self, zoom: u8) -> Region {
        let zoom = zoom.min(ZOOM);
        Region { zoom, number: self.0 >> (2 * (ZOOM - zoom)) }
    }
}

/// A tile of a coarser zoom: what a device names when it fetches a part of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region {
    zoom: u8,
    number: u32,
}

impl Region {
    /// The region with that number at a zoom of 0 to 15; `None` if there is none.
    pub fn new(zoom: u8, number: u32) -> Option<Self> {
        (zoom <= ZOOM && number < 1 << (2 * zoom)).then_some(Self { zoom, number })
    }

    /// Its zoom, 0 to 15, and its number.
    pub const fn zoom_number(self) -> (u8, u32) {
        (self.zoom, self.number)
    }

    /// Whether a tile is a part of it.
    pub fn holds(self, key: TileKey) -> bool {
        key.region(self.zoom) == self
    }

    /// It and the regions around it, in the order of their numbers: what is fetched together, so
    /// that no border is noticed. Nine, or fewer at the map's northern and southern end.
    pub fn neighbourhood(self) -> Vec<Self> {
        let across = 1u32 << self.zoom;
        let (column, row) = (gather(self.number), gather(self.number >> 1));
        let rows = row.saturating_sub(1)..=(row + 1).min(across - 1);
        let around = |row: u32| {
            [across - 1, 0, 1].map(|step| {
                let number = spread((column + step) % across) | spread(row) << 1;
                Self { zoom: self.zoom, number }
            })
        };
        let mut all: Vec<_> = rows.flat_map(around).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The low 16 bits, each followed by a zero.
const fn spread(bits: u32) -> u32 {
    let mut b = bits & 0xffff;
    b = (b | b << 8) & 0x00ff_00ff;
    b = (b | b << 4) & 0x0f0f_0f0f;
    b = (b | b << 2) & 0x3333_3333;
    (b | b << 1) & 0x5555_5555
}

/// Every second bit, the lowest first.
const fn gather(bits: u32) -> u32 {
    let mut b = bits & 0x5555_5555;
    b = (b | b >> 1) & 0x3333_3333;
    b = (b | b >> 2) & 0x0f0f_0f0f;
    b = (b | b >> 4) & 0x00ff_00ff;
    (b | b >> 8) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tile_has_the_number_of_its_quadkey() {
        // The grid and its quadkeys as Bing Maps' documentation has them: tile (3, 5) at zoom 3 is
        // 213, in base 4.
        assert_eq!(spread(3) | spread(5) << 1, 2 * 16 + 4 + 3);
        // Charing Cross, by the same formulas in another language: x 16372, y 10896 at zoom 15.
        let place = Position::new(51.507_389, -0.127_758).unwrap();
        assert_eq!(place.tile().column_row(), (16_372, 10_896));
        assert_eq!(place.tile().region(0), Region::new(0, 0).unwrap());
        assert_eq!(TileKey::try_from(1 << 30), Err(TileKeyError(1 << 30)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (latitude, longitude) in
            [(90.0, 0.0), (85.06, 0.0), (f64::NAN, 0.0), (0.0, f64::INFINITY), (0.0, 180.01)]
        {
            let error = Position::new(latitude, longitude).unwrap_err().to_string();
            assert!(error.contains("is no place"), "{error}");
        }
        assert!(serde_json::from_str::<Position>("[900000000,0]").is_err());
        assert!(serde_json::from_str::<Position>("[-2147483648,-2147483648]").is_err());
    }

    #[test]
    fn a_degree_of_latitude_is_111_kilometres_and_the_date_line_is_no_gap() {
        let place = |a, b| Position::new(a, b).unwrap();
        let north = place(50.0, 7.0).to(place(51.0, 7.0));
        assert!((north.length() - 111_195.0).abs() < 1.0 && north.course() < 0.001);
        let east = place(0.0, 179.9999).to(place(0.0, -179.9999));
        assert!((east.east - 22.24).abs() < 0.01, "{east:?}");
        assert_eq!(place(10.0, 20.0).to_string(), "10.0, 20.0");
    }

    #[test]
    fn a_neighbourhood_is_what_lies_around() {
        let region = Position::new(51.5, -0.1).unwrap().tile().region(8);
        let all = region.neighbourhood();
        assert_eq!(all.len(), 9);
        assert!(all.contains(&region) && all.is_sorted());
        assert_eq!(Region::new(0, 0).unwrap().neighbourhood(), [Region::new(0, 0).unwrap()]);
        let corner = Region { zoom: 3, number: 0 }.neighbourhood();
        assert_eq!(corner.len(), 6, "the other side of the date line is near, the pole's is not");
        assert_eq!(Region::new(16, 0), None);
        assert_eq!(Region::new(2, 16), None);
    }

    proptest! {
        #[test]
        fn a_place_is_within_a_hand_of_where_its_tile_says(
            latitude in -85.0..85.0, longitude in -180.0..180.0,
        ) {
            let place = Position::new(latitude, longitude).unwrap();
            let (key, dx, dy) = place.in_tile();
            let back = Position::of_tile(key, dx, dy);
            prop_assert!(place.to(back).length() < 0.05);
        }

        #[test]
        fn who_goes_somewhere_gets_there(
            latitude in -80.0..80.0, longitude in -180.0..180.0,
            course in 0.0..360.0, metres in 0.0..3000.0,
        ) {
            let place = Position::new(latitude, longitude).unwrap();
            let by = Offset::on(course, metres);
            let way = place.to(place.moved(by).unwrap());
            prop_assert!((way.east - by.east).hypot(way.north - by.north) < 0.1 + metres / 500.0);
        }

        #[test]
        fn columns_and_rows_come_back_from_their_number(column in 0..ACROSS, row in 0..ACROSS) {
            prop_assert_eq!(TileKey::at(column, row).column_row(), (column, row));
        }
    }
}
