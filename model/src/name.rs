//! Names that operators give to things, and places.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name an operator gave: of an account, a gateway, a class of service, an operator.
/// 1 to 64 characters out of `a-z A-Z 0-9 . _ - @ +`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that is no [`Name`] or no [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a name.
    #[error(
        "{0:?} is not a name: use 1 to 64 of a-z A-Z 0-9 . _ - @ +, beginning with a letter or digit"
    )]
    Name(String),
    /// Not a place.
    #[error(
        "{0:?} is not a place: give country/region and, if you like, more, such as gb/london/se1"
    )]
    Place(String),
}

impl Name {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
        let ok = (1..=64).contains(&text.len())
            && text.chars().all(good)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if ok { Ok(Self(text.to_owned())) } else { Err(NameError::Name(text.to_owned())) }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a gateway stands: `country/region` and as much more as the operator likes, in lower
/// case (`gb/london/se1/17-elm-street`). [`Coverage`](crate::Coverage) compares the first two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place(String);

impl Place {
    /// The place's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part.
    pub fn country(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The second part.
    pub fn region(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }
}

impl FromStr for Place {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
        };
        let ok = text.len() <= 128 && text.contains('/') && text.split('/').all(good);
        if ok { Ok(Self(text.to_owned())) } else { Err(NameError::Place(text.to_owned())) }
    }
}

impl TryFrom<String> for Place {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        for good in ["a", "gw-17", "smith@example.net", "3rd"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-x", "two words", "caf\u{e9}", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_has_a_country_and_a_region() {
        let place: Place = "gb/london/se1".parse().unwrap();
        assert_eq!((place.country(), place.region()), ("gb", "london"));
        for bad in ["", "gb", "gb/", "/london", "GB/london", "gb//se1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
