//! What `doctor` asks of the machine.

use std::io;
use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// The capabilities in force that gateways and devices need (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// CAP_NET_ADMIN: make interfaces and set them up.
    pub net_admin: bool,
    /// CAP_NET_RAW: open packet sockets.
    pub net_raw: bool,
}

impl Capabilities {
    /// The names of those that are not there.
    pub fn missing(self) -> Vec<&'static str> {
        let all = [(self.net_admin, "CAP_NET_ADMIN"), (self.net_raw, "CAP_NET_RAW")];
        all.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
    }
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
/// `RAMFS_MAGIC` of linux/magic.h; an initramfs without swap has no tmpfs.
const RAMFS_MAGIC: i128 = 0x8584_58f6;

/// The calling thread's effective capabilities.
///
/// # Errors
///
/// /proc is not mounted, or is not what a Linux writes.
pub fn capabilities() -> io::Result<Capabilities> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let effective = effective(&status).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/status has no CapEff")
    })?;
    Ok(Capabilities {
        net_admin: effective >> CAP_NET_ADMIN & 1 != 0,
        net_raw: effective >> CAP_NET_RAW & 1 != 0,
    })
}

/// Whether the path is on a file system that never reaches a disk (tmpfs, ramfs), as far as the
/// file system itself can tell: tmpfs may still be swapped out.
///
/// # Errors
///
/// The path does not exist or may not be seen.
pub fn on_tmpfs(path: &Path) -> io::Result<bool> {
    let kind = statfs(path)?.filesystem_type();
    Ok(kind == TMPFS_MAGIC || i128::from(kind.0) == RAMFS_MAGIC)
}

fn effective(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_are_read_from_proc() {
        assert_eq!(effective("Name:\tx\nCapEff:\t0000000000003000\n"), Some(0x3000));
        assert_eq!(effective("CapPrm:\t0000000000003000\n"), None);
        assert!(capabilities().is_ok());
    }

    #[test]
    fn proc_is_no_tmpfs() {
        assert!(!on_tmpfs(Path::new("/proc")).unwrap());
        assert!(on_tmpfs(Path::new("/nowhere/at/all")).is_err());
    }
}
