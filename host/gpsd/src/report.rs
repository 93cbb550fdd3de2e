//! A line of gpsd's.

use homeward_coverage::Position;
use homeward_model::UnixTime;
use serde::Deserialize;

/// What a receiver that says nothing of its error is taken for, in metres.
const USUAL: u16 = 20;
/// The `mode` from which there is a position: 2 has no altitude.
const PLANE: u8 = 2;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Which version of the protocol it speaks: the first line.
    Version {
        /// Its software's.
        release: String,
        /// The protocol's major version.
        major: u32,
    },
    /// Where a receiver is.
    Place(Place),
    /// A receiver that does not know where it is.
    Lost,
    /// Something else.
    Other,
}

/// A position, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// When it was taken, by the satellites' clock.
    pub time: Option<UnixTime>,
    /// Where.
    pub position: Position,
    /// The radius of error, in metres, rounded up; 20 where nothing is said of it.
    pub accuracy_m: u16,
    /// Over ground, in cm/s.
    pub speed_cm_s: Option<u16>,
    /// Over ground, in hundredths of a degree from true north by east: 0 to 35,999.
    pub course_cdeg: Option<u16>,
}

/// An object, as far as it is of use. What gpsd does not know, it leaves out.
#[derive(Deserialize)]
struct Line {
    class: String,
    #[serde(default)]
    mode: u8,
    time: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    eph: Option<f64>,
    epx: Option<f64>,
    epy: Option<f64>,
    speed: Option<f64>,
    track: Option<f64>,
    #[serde(default)]
    release: String,
    proto_major: Option<u32>,
}

/// Decodes a line; `None` if it is no object of gpsd's.
pub fn parse(line: &str) -> Option<Report> {
    let line: Line = serde_json::from_str(line).ok()?;
    Some(match line.class.as_str() {
        "VERSION" => Report::Version { release: line.release, major: line.proto_major? },
        "TPV" => match place(&line) {
            Some(place) if line.mode >= PLANE => Report::Place(place),
            _ => Report::Lost,
        },
        _ => Report::Other,
    })
}

fn place(line: &Line) -> Option<Place> {
    let position = Position::new(line.lat?, line.lon?).ok()?;
    let error = line.eph.or_else(|| Some(line.epx?.hypot(line.epy?)));
    let time = line.time.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    Some(Place {
        time: time.map(|time| UnixTime(time.as_millisecond())),
        position,
        accuracy_m: error.and_then(|metres| whole(metres.ceil())).unwrap_or(USUAL),
        speed_cm_s: line.speed.and_then(|metres| whole(metres * 100.0)),
        course_cdeg: line.track.and_then(course),
    })
}

/// Of degrees, also of those that are a circle further on; what is next to nothing below north is north.
fn course(track: f64) -> Option<u16> {
    whole((track * 100.0).rem_euclid(36_000.0)).map(|course| course % 36_000)
}

/// What is too large counts as the largest; what is no number, or negative, is not known.
fn whole(value: f64) -> Option<u16> {
    if value.is_nan() || value < 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "16 bits, by min")]
    let value = value.min(f64::from(u16::MAX)) as u16;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Place {
        match parse(line) {
            Some(Report::Place(place)) => place,
            other => panic!("{other:?}"),
        }
    }

    /// From gpsd_json(5), "TPV".
    const DOCUMENTED: &str = r#"{"class":"TPV","device":"/dev/pts/1","time":"2005-06-08T10:34:48.283Z","ept":0.005,"lat":46.498293369,"lon":7.567411672,"alt":1343.127,"eph":36.000,"epv":32.321,"track":10.3788,"speed":0.091,"climb":-0.085,"mode":3}"#;

    #[test]
    fn a_position_of_the_manual_is_one() {
        let place = at(DOCUMENTED);
        assert_eq!(place.position, Position::new(46.498_293_4, 7.567_411_7).unwrap());
        assert_eq!(place.time, Some(UnixTime(1_118_226_888_283)));
        let Place { accuracy_m, speed_cm_s, course_cdeg, .. } = place;
        assert_eq!((accuracy_m, speed_cm_s, course_cdeg), (36, Some(9), Some(1037)));
    }

    #[test]
    fn what_a_receiver_does_not_know_is_not_made_up() {
        let bare = at(r#"{"class":"TPV","mode":2,"lat":0,"lon":0}"#);
        let Place { time, accuracy_m, speed_cm_s, course_cdeg, .. } = bare;
        assert_eq!((time, accuracy_m, speed_cm_s, course_cdeg), (None, USUAL, None, None));
        let axes = at(r#"{"class":"TPV","mode":3,"lat":0,"lon":0,"epx":3.0,"epy":4.0,"speed":-1}"#);
        assert_eq!((axes.accuracy_m, axes.speed_cm_s), (5, None));
        let far = at(r#"{"class":"TPV","mode":3,"lat":0,"lon":0,"eph":1e9,"track":360}"#);
        assert_eq!((far.accuracy_m, far.course_cdeg), (u16::MAX, Some(0)));
        assert_eq!(
            [course(-1e-20), course(-90.0), course(f64::NAN)],
            [Some(0), Some(27_000), None]
        );
    }

    #[test]
    fn a_receiver_without_a_fix_is_lost() {
        for line in [
            r#"{"class":"TPV","mode":1}"#,
            r#"{"class":"TPV","mode":0,"lat":1,"lon":1}"#,
            r#"{"class":"TPV","mode":3,"lat":91,"lon":1}"#,
            r#"{"class":"TPV","mode":3,"lat":1}"#,
        ] {
            assert_eq!(parse(line), Some(Report::Lost), "{line}");
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        let version =
            r#"{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}"#;
        let expected = Report::Version { release: "3.22".to_owned(), major: 3 };
        assert_eq!(parse(version), Some(expected));
        assert_eq!(parse(r#"{"class":"SKY","satellites":[]}"#), Some(Report::Other));
        for line in ["", "[]", "{}", "HTTP/1.1 400 Bad Request", r#"{"class":7}"#] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
