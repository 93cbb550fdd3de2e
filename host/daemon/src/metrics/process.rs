//! The process's own figures, read when somebody asks.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::clock;

/// CPU time, memory and descriptors, under the names that all programs use.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let cpu = ConstCounter::new(clock::process_cpu_time().as_secs_f64());
        cpu.encode(encoder.encode_descriptor(
            "cpu",
            "CPU time used, user and system",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        // Without /proc these are absent, not zero.
        if let Some(memory) = resident_memory() {
            ConstGauge::new(memory).encode(encoder.encode_descriptor(
                "resident_memory",
                "Memory in RAM (RSS)",
                Some(&Unit::Bytes),
                MetricType::Gauge,
            )?)?;
        }
        if let Some(open) = open_descriptors() {
            ConstGauge::new(open).encode(encoder.encode_descriptor(
                "open_fds",
                "Open file descriptors",
                None,
                MetricType::Gauge,
            )?)?;
        }
        Ok(())
    }
}

/// Octets of `VmRSS` (`proc_pid_status(5)`).
fn resident_memory() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok().map(|kib| kib * 1024)
}

/// The descriptor that lists them is not counted.
fn open_descriptors() -> Option<i64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(count).ok().map(|n| n - 1)
}
