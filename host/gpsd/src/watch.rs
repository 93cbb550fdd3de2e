//! Fixes as they come.

use std::time::Duration;

use homeward_coverage::Fix;
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Instant, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::report::{Place, Report, parse};

/// Has gpsd say all that it comes to know, as JSON.
const WATCH: &[u8] = b"?WATCH={\"enable\":true,\"json\":true};\n";
/// A longer line is none of gpsd's (`GPS_JSON_RESPONSE_MAX`, 10,240, and as much again).
const LINE: usize = 20_480;
/// A fix may be so old when it comes; where the clocks are farther apart, one of them is wrong, and
/// it counts as taken when it came.
const APART: Duration = Duration::from_secs(60);

/// Where gpsd is, and how patient to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpsd {
    /// `HOST:PORT`; gpsd's own port is 2947.
    pub address: String,
    /// How long connecting may take, and how long it may say nothing at all.
    pub patience: Duration,
    /// The pause before it is looked for again.
    pub retry: Duration,
}

impl Gpsd {
    /// One at that address, with usual patience: 30 s, and looked for every 5 s.
    pub fn at(address: &str) -> Self {
        let (patience, retry) = (Duration::from_secs(30), Duration::from_secs(5));
        Self { address: address.to_owned(), patience, retry }
    }
}

/// Why there are no fixes.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It cannot be reached, or ended the connection.
    #[error("gpsd cannot be reached at {address}: is it running, and does it listen there?")]
    Away {
        /// Where.
        address: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// Something else listens there.
    #[error("what listens at {address} is no gpsd of protocol 3")]
    Other {
        /// Where.
        address: String,
    },
}

/// Says each fix to `found`, until the future is dropped. A gpsd that is not there is looked for.
pub async fn watch(gpsd: Gpsd, mut found: impl FnMut(Fix) + Send) {
    let mut said = false;
    let mut last = None;
    loop {
        match follow(&gpsd, &mut said, &mut last, &mut found).await {
            Err(error) if !said => {
                said = true;
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "no position; it is looked for again");
            }
            Ok(()) | Err(_) => {}
        }
        SystemClock.until(Some(SystemClock.now() + gpsd.retry)).await;
    }
}

/// Follows one gpsd to its end. `said` is whether it was said that there is none.
async fn follow(
    gpsd: &Gpsd,
    said: &mut bool,
    last: &mut Option<UnixTime>,
    found: &mut impl FnMut(Fix),
) -> Result<(), WatchError> {
    let away = |source| WatchError::Away { address: gpsd.address.clone(), source };
    let late = || away(std::io::ErrorKind::TimedOut.into());
    let dial = TcpStream::connect(&gpsd.address);
    let stream = tokio::time::timeout(gpsd.patience, dial).await.map_err(|_| late())?;
    let (read, mut write) = stream.map_err(away)?.into_split();
    write.write_all(WATCH).await.map_err(away)?;
    let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(LINE));
    let mut known = false;
    loop {
        // A receiver says something each second; but there may be none yet.
        let line = match known {
            true => lines.next().await,
            false => tokio::time::timeout(gpsd.patience, lines.next()).await.map_err(|_| late())?,
        };
        let other = || WatchError::Other { address: gpsd.address.clone() };
        let line = match line {
            Some(Ok(line)) => line,
            Some(Err(LinesCodecError::Io(source))) => return Err(away(source)),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => return Err(other()),
            None => return Err(away(std::io::ErrorKind::UnexpectedEof.into())),
        };
        match parse(&line) {
            Some(Report::Version { release, major: 3 }) if !known => {
                (known, *said) = (true, false);
                tracing::info!(release, "gpsd is there");
            }
            Some(Report::Place(place)) if known => {
                let fix = fix(place, last, SystemClock.unix(), SystemClock.now());
                if let Some(fix) = fix {
                    found(fix);
                }
            }
            Some(_) if known => {}
            _ => return Err(other()),
        }
    }
}

/// A fix on the machine's clock; none where a receiver says again what it said.
fn fix(place: Place, last: &mut Option<UnixTime>, wall: UnixTime, now: Instant) -> Option<Fix> {
    let Place { time, position, accuracy_m, speed_cm_s, course_cdeg } = place;
    if time.is_some() && time == *last {
        return None;
    }
    *last = time;
    let age = time.and_then(|time| u64::try_from(wall.0.checked_sub(time.0)?).ok());
    let age = age.map(Duration::from_millis).filter(|age| *age <= APART).unwrap_or_default();
    let taken = Instant::from_nanos(
        now.as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or_default()),
    );
    Some(Fix { taken, position, accuracy_m, speed_cm_s, course_cdeg })
}

#[cfg(test)]
mod tests {
    use homeward_coverage::Position;

    use super::*;

    fn place(time: Option<i64>) -> Place {
        Place {
            time: time.map(UnixTime),
            position: Position::new(51.5, -0.1).unwrap(),
            accuracy_m: 5,
            speed_cm_s: None,
            course_cdeg: None,
        }
    }

    #[test]
    fn a_fix_was_taken_as_long_ago_as_the_satellites_clock_says_and_a_repeated_one_is_no_news() {
        let (mut last, now, wall) = (None, Instant::from_nanos(100_000_000_000), UnixTime(90_000));
        let mut taken = |time| {
            fix(place(time), &mut last, wall, now).map(|fix| fix.taken.as_nanos() / 1_000_000)
        };
        assert_eq!(taken(Some(89_200)), Some(99_200));
        assert_eq!(taken(Some(89_200)), None, "stuck");
        assert_eq!(taken(Some(91_000)), Some(100_000), "not in time to come");
        assert_eq!(taken(Some(29_999)), Some(100_000), "one of the clocks is wrong");
        assert_eq!(taken(Some(30_000)), Some(40_000));
        assert_eq!((taken(None), taken(None)), (Some(100_000), Some(100_000)));
    }
}
