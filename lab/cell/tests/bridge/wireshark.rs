//! What arrives at an interface, as Wireshark's tshark dissects it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use homeward_net::tool::run_tool;
use homeward_net::{Capture, Namespace};

/// A trace in the making.
pub(crate) struct Trace {
    capture: Capture,
    file: PathBuf,
}

/// A trace in a file.
pub(crate) struct Traced(PathBuf);

impl Trace {
    pub(crate) fn start(namespace: &Namespace, interface: &str, folder: &Path) -> Result<Self> {
        let file = folder.join(format!("{interface}.pcap"));
        Ok(Self { capture: Capture::start(namespace, interface)?, file })
    }

    /// Writes what has arrived so far.
    pub(crate) fn finish(self) -> Result<Traced> {
        // A classic pcap file of Ethernet frames, with times in microseconds.
        let mut octets = Vec::new();
        let words = [0xa1b2_c3d4u32, 0x0002_0004u32.rotate_right(16), 0, 0, 65_536, 1];
        octets.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        for arrival in self.capture.arrivals() {
            let micros = arrival.at.as_nanos() / 1000;
            let length = u32::try_from(arrival.octets.len())?;
            let seconds = u32::try_from(micros / 1_000_000)?;
            let rest = u32::try_from(micros % 1_000_000)?;
            let head = [seconds, rest, length, length];
            octets.extend(head.iter().flat_map(|word| word.to_ne_bytes()));
            octets.extend(&arrival.octets);
        }
        fs::write(&self.file, octets)?;
        Ok(Traced(self.file))
    }
}

impl Traced {
    /// The fields of each packet that the filter lets pass.
    pub(crate) fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let file = self.0.to_str().context("the folder is no text")?;
        let mut words = vec!["-r", file, "-Y", filter, "-T", "fields"];
        words.extend(fields.iter().flat_map(|field| ["-e", *field]));
        let said = run_tool("tshark", &words)?;
        Ok(said.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }
}
