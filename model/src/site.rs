//! Where a gateway is heard.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place on the Earth (WGS 84), and how far around it a gateway is heard well enough to be used.
///
/// As text: latitude and longitude in degrees and the range in metres, `51.5007,-0.1246,60`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Site {
    /// In units of 10⁻⁷ degrees.
    latitude: i32,
    longitude: i32,
    range: u16,
}

/// A text that is no site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no site: give latitude (-85 to 85) and longitude (-180 to 180) in degrees and the range (1 to 32767) in metres, such as 51.5007,-0.1246,60"
)]
pub struct SiteError(String);

impl Site {
    /// Latitude and longitude, in degrees.
    pub fn degrees(self) -> (f64, f64) {
        (f64::from(self.latitude) / 1e7, f64::from(self.longitude) / 1e7)
    }

    /// How far it is heard, in metres.
    pub const fn range(self) -> u16 {
        self.range
    }
}

impl FromStr for Site {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        let wrong = || SiteError(text.to_owned());
        let mut parts = text.split(',').map(str::trim);
        let mut degrees = |most: f64| {
            let value = parts.next()?.parse::<f64>().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "at most 180 degrees: 31 bits")]
            let units = (value * 1e7).round() as i32;
            (-most..=most).contains(&value).then_some(units)
        };
        let (latitude, longitude) = (degrees(85.0), degrees(180.0));
        let range = parts.next().and_then(|range| range.parse::<u16>().ok());
        let range = range.filter(|range| (1..=32_767).contains(range));
        match (latitude, longitude, range, parts.next()) {
            (Some(latitude), Some(longitude), Some(range), None) => {
                Ok(Self { latitude, longitude, range })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (latitude, longitude) = self.degrees();
        write!(f, "{latitude},{longitude},{}", self.range)
    }
}

impl TryFrom<String> for Site {
    type Error = SiteError;

    fn try_from(text: String) -> Result<Self, SiteError> {
        text.parse()
    }
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        site.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_survives_its_text() {
        for text in ["51.5007,-0.1246,60", "0,0,1", "-85,180,32767", "1.0000001,-1.0000001,5"] {
            assert_eq!(text.parse::<Site>().unwrap().to_string(), text);
        }
        let spaced: Site = " 51.5 , -0.1 , 60 ".parse().unwrap();
        assert_eq!((spaced.degrees(), spaced.range()), ((51.5, -0.1), 60));
    }

    #[test]
    fn what_is_no_site_is_refused_and_says_what_one_is() {
        for text in [
            "",
            "51.5",
            "51.5,0.1",
            "51.5,0.1,0",
            "51.5,0.1,32768",
            "85.1,0,9",
            "0,180.1,9",
            "nan,0,9",
            "0,0,9,9",
            "inf,0,9",
            "0,0,9.5",
        ] {
            let error = text.parse::<Site>().unwrap_err().to_string();
            assert!(error.contains("51.5007,-0.1246,60"), "{error}");
        }
    }
}
