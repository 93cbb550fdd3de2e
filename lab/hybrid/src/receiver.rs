//! A receiver of satellites, as the device's gpsd has it: real gpsd, told NMEA 0183 by UDP.

use std::net::UdpSocket;

use anyhow::Result;
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_net::{Lab, Namespace, Process};

/// Where gpsd listens, and where it is told.
pub(crate) const GPSD: &str = "127.0.0.1:2947";
const SOURCE: &str = "127.0.0.1:5555";

/// gpsd, and a receiver that says what it is told to. Both go when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    socket: UdpSocket,
    _gpsd: Process,
}

impl Receiver {
    /// Starts gpsd in a namespace.
    ///
    /// # Errors
    /// If it is not there.
    pub fn start(lab: &Lab, namespace: &Namespace) -> Result<Self> {
        let (_, port) = GPSD.split_once(':').unwrap_or_default();
        let source = format!("udp://{SOURCE}");
        let words = ["/usr/sbin/gpsd", "-N", "-n", "-b", "-S", port, &source];
        let gpsd = lab.process("gpsd", namespace, &words)?;
        let socket = namespace.enter(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?;
        Ok(Self { socket, _gpsd: gpsd })
    }

    /// Says that it is so many degrees north and east, good to 6 m, and goes north at that speed, in
    /// m/s. gpsd that does not listen yet misses it.
    pub fn says(&self, latitude: f64, longitude: f64, speed: f64) {
        let wall = jiff::Timestamp::from_millisecond(SystemClock.unix().0).unwrap_or_default();
        let (time, date) = (wall.strftime("%H%M%S%.2f"), wall.strftime("%d%m%y"));
        let place = format!("{},{}", degrees(latitude, 2, "NS"), degrees(longitude, 3, "EW"));
        let knots = speed * 3600.0 / 1852.0;
        let text = [
            format!("GPRMC,{time},A,{place},{knots:.1},0.0,{date},,,A"),
            format!("GPGGA,{time},{place},1,08,0.3,10.0,M,0.0,M,,"),
        ]
        .map(|sentence| sealed(&sentence))
        .concat();
        // Who is not there does not hear it.
        let _ = self.socket.send_to(text.as_bytes(), SOURCE);
    }
}

/// Degrees and minutes, and which way.
fn degrees(value: f64, width: usize, ways: &str) -> String {
    let whole = value.abs().trunc();
    let minutes = (value.abs() - whole) * 60.0;
    let (ahead, back) = ways.split_at(1);
    let way = if value < 0.0 { back } else { ahead };
    format!("{whole:0width$}{minutes:08.5},{way}")
}

/// A sentence with its checksum.
fn sealed(sentence: &str) -> String {
    let sum = sentence.bytes().fold(0, |sum, octet| sum ^ octet);
    format!("${sentence}*{sum:02X}\r\n")
}
