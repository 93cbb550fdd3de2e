//! Which path, and sets of them.

use std::fmt;

use serde::Serialize;

/// The most paths of one bond.
pub const MAX_PATHS: usize = 4;

/// A path of a bond, 0 to 3: the two ends number them alike, or not; nothing on the wire says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct PathId(u8);

impl PathId {
    /// All of them, in order.
    pub const ALL: [Self; MAX_PATHS] = [Self(0), Self(1), Self(2), Self(3)];

    /// The path of this number; `None` above 3.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 4 { Some(Self(number)) } else { None }
    }

    /// Its number, 0 to 3.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Its number, for an array of [`MAX_PATHS`].
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The paths that a packet goes by: a set, perhaps empty. Iterating gives them in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Route(u8);

impl Route {
    /// None: the packet is dropped.
    pub const NONE: Self = Self(0);

    /// One path.
    pub const fn only(path: PathId) -> Self {
        Self(1 << path.0)
    }

    /// This and one more.
    #[must_use]
    pub const fn with(self, path: PathId) -> Self {
        Self(self.0 | 1 << path.0)
    }

    /// This without one.
    #[must_use]
    pub const fn without(self, path: PathId) -> Self {
        Self(self.0 & !(1 << path.0))
    }

    /// Whether `path` is one of them.
    pub const fn contains(self, path: PathId) -> bool {
        self.0 & 1 << path.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are, 0 to 4.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The first of them.
    pub fn first(self) -> Option<PathId> {
        self.into_iter().next()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.into_iter().map(PathId::get)).finish()
    }
}

impl FromIterator<PathId> for Route {
    fn from_iter<I: IntoIterator<Item = PathId>>(paths: I) -> Self {
        paths.into_iter().fold(Self::NONE, Self::with)
    }
}

impl IntoIterator for Route {
    type Item = PathId;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        Iter(self.0)
    }
}

/// The paths of a [`Route`], in order.
#[derive(Debug, Clone)]
pub struct Iter(u8);

impl Iterator for Iter {
    type Item = PathId;

    #[inline]
    fn next(&mut self) -> Option<PathId> {
        let path = PathId::ALL.get(self.0.trailing_zeros() as usize).copied()?;
        self.0 &= self.0 - 1;
        Some(path)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.count_ones() as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_gives_its_paths_in_order() {
        let route: Route = [3, 0, 2].into_iter().filter_map(PathId::new).collect();
        assert_eq!(route.into_iter().map(PathId::get).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((route.len(), route.into_iter().len(), route.is_empty()), (3, 3, false));
        assert_eq!(format!("{route:?}"), "{0, 2, 3}");
        let [zero, one, ..] = PathId::ALL;
        assert!(route.contains(zero) && !route.contains(one));
        assert!(!route.without(zero).contains(zero));
        assert_eq!((Route::NONE.first(), Route::only(one).first()), (None, Some(one)));
        assert_eq!((PathId::new(3), PathId::new(4)), (Some(PathId(3)), None));
    }
}
