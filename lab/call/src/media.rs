//! The RTP that was heard somewhere, and how long it was not.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::Instant;
use homeward_net::wait::{now, wait_for, wall_offset};
use homeward_net::{Namespace, Process};
use serde::Serialize;

use crate::{PATIENCE, text};

/// Where who is called has its media.
pub const PORT: u16 = 6000;
/// From one packet of a phone's to the next (RFC 3551: G.711, 20 ms).
pub const PERIOD: Duration = Duration::from_millis(20);

/// What is heard is written down after a second at most.
const WRITTEN: Duration = Duration::from_secs(2);

/// An RTP packet that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packet {
    /// When, in ms since 1970.
    pub at_ms: f64,
    /// Its number (RFC 3550 5.1).
    pub sequence: u16,
}

/// What a stream suffered in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// The longest time from one packet to the next, in ms; 20 if all is well.
    pub silent_ms: f64,
    /// Numbers that are missing between the first that came and the last.
    pub lost: u64,
    /// Packets that came.
    pub heard: u64,
}

/// A moment on the clock that packets are written down by.
pub fn clock_ms(at: Instant) -> f64 {
    (wall_offset() + at.as_nanos()) as f64 / 1e6
}

/// Writes down what who is called sends of what it hears: until dropped.
#[derive(Debug)]
pub struct Ear {
    process: Process,
    file: PathBuf,
}

impl Ear {
    /// Listens in a namespace, at all its interfaces, to what comes from there.
    ///
    /// # Errors
    /// If tcpdump does not come up.
    pub async fn start(
        folder: &Path,
        name: &str,
        namespace: &Namespace,
        called: Ipv4Addr,
    ) -> Result<Self> {
        let file = folder.join(format!("{name}.pcap"));
        // The phone's own have the same port. tcpdump would want to be another user, whom a user
        // namespace has not.
        let filter = format!("src host {called} and udp src port {PORT}");
        // As root it would give that up, and could not write any more.
        let words = ["dumpcap", "-q", "-P", "-i", "any", "-f", &filter, "-w", text(&file)?];
        let mut process = Process::start(folder, name, namespace, &words)?;
        process.says("File: ", PATIENCE).await?;
        Ok(Self { process, file })
    }

    /// All that was heard until then, in ms since 1970; waits until something later was, for what is heard
    /// is written down by and by.
    ///
    /// # Errors
    /// If nothing is heard later, or tshark cannot read it.
    pub async fn heard(&self, until_ms: f64) -> Result<Vec<Packet>> {
        wait_for("later media", PATIENCE, async || {
            let packets = self.written()?;
            let later = packets.last().is_some_and(|packet| packet.at_ms > until_ms);
            Ok(later.then_some(packets))
        })
        .await
    }

    /// Waits until nothing more is heard; when the last was, in ms since 1970.
    ///
    /// # Errors
    /// If that does not come, or the ear has ended.
    pub async fn hears_nothing(&mut self) -> Result<f64> {
        let (mut length, mut since) = (0, now());
        wait_for("silence", PATIENCE, async || {
            ensure!(self.process.is_running(), "dumpcap ended: {}", self.process.log());
            let is = fs::metadata(&self.file)?.len();
            if is != length {
                (length, since) = (is, now());
            }
            Ok((now().since(since) >= WRITTEN).then_some(()))
        })
        .await?;
        Ok(self.written()?.last().context("nothing was ever heard")?.at_ms)
    }

    /// Waits until something is heard from now on.
    ///
    /// # Errors
    /// If nothing is.
    pub async fn hears(&mut self) -> Result<()> {
        let before = fs::metadata(&self.file)?.len();
        wait_for("media", PATIENCE, async || {
            ensure!(self.process.is_running(), "dumpcap ended: {}", self.process.log());
            Ok((fs::metadata(&self.file)?.len() > before).then_some(()))
        })
        .await
    }

    /// What is written down so far.
    fn written(&self) -> Result<Vec<Packet>> {
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-d", &format!("udp.port=={PORT},rtp"), "-T", "fields"]);
        tshark.args(["-e", "frame.time_epoch", "-e", "rtp.seq", "-r"]).arg(&self.file);
        let output = tshark.output().context("tshark: `make setup` installs it")?;
        // The last packet may be half written; what is before it is told.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let packet = |line: &str| {
            let (at, sequence) = line.split_once('\t')?;
            let at_ms = at.parse::<f64>().ok()? * 1e3;
            Some(Packet { at_ms, sequence: sequence.parse().ok()? })
        };
        Ok(said.lines().filter_map(packet).collect())
    }
}

/// What a stream suffered from `from` to `until`, in ms since 1970; the silence at both ends counts.
pub fn gap(packets: &[Packet], from: f64, until: f64) -> Gap {
    let (mut last, mut silent_ms, mut heard) = (from, 0.0_f64, 0);
    let (mut first, mut span, mut before) = (true, 0_i64, 0_u16);
    for packet in packets.iter().filter(|packet| (from..=until).contains(&packet.at_ms)) {
        silent_ms = silent_ms.max(packet.at_ms - last);
        last = packet.at_ms;
        heard += 1;
        // Numbers go round.
        let step = packet.sequence.wrapping_sub(before).cast_signed();
        if !first && step > 0 {
            span += i64::from(step);
        }
        if first || step > 0 {
            before = packet.sequence;
        }
        first = false;
    }
    silent_ms = silent_ms.max(until - last);
    let expected = if heard == 0 { 0 } else { span.unsigned_abs() + 1 };
    Gap { silent_ms, lost: expected.saturating_sub(heard), heard }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_silence_and_the_numbers_that_are_missing() {
        let packets = [(0.0, 65_534), (20.0, 65_535), (95.0, 3), (96.0, 2), (120.0, 4)]
            .map(|(at_ms, sequence)| Packet { at_ms, sequence });
        let seen = gap(&packets, 10.0, 130.0);
        assert_eq!(seen, Gap { silent_ms: 75.0, lost: 2, heard: 4 });
        let never = gap(&[], 10.0, 130.0);
        assert_eq!(never, Gap { silent_ms: 120.0, lost: 0, heard: 0 });
    }
}
