//! Ethernet interfaces whose other end is this process (TAP, `Documentation/networking/tuntap`).
//!
//! What the kernel sends out of the interface is read here, and what is written here it receives.
//! Each frame has a virtio-net header in front ([`VNET_HEADER`] octets, `struct virtio_net_hdr`):
//! with it, frames may be as long as 64 KiB, cut into segments by nobody yet (TSO), and without
//! their checksums (the header says where they belong). That is an order of magnitude fewer system
//! calls than one for each frame on the wire.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use homeward_model::Mac;

use crate::bridge::no_link_local;
use crate::error::{Error, Refusal, Result};
use crate::link::{Links, check_name};
use crate::netlink::{Body, Netlink};
use crate::sys;

/// Octets of the virtio-net header in front of each frame: the legacy header, without
/// `num_buffers`. Its numbers are in the machine's byte order.
pub const VNET_HEADER: usize = 10;

/// The longest frame with its virtio-net header: 64 KiB of IP and the Ethernet header.
pub const MAX_READ: usize = VNET_HEADER + 14 + 65_535;

const DEVICE: &str = "/dev/net/tun";

/// How a TAP interface is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSettings {
    /// Its name: 1 to 15 characters.
    pub name: String,
    /// The largest IP packet (octets) that fits into a frame.
    pub mtu: u32,
    /// Its MAC address; the kernel's choice if `None`.
    pub mac: Option<Mac>,
}

/// A TAP interface, up. It goes when this is dropped, or the process ends in any way.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    index: u32,
    mac: Mac,
    mtu: AtomicU32,
}

impl Tap {
    /// Makes an interface in the calling thread's network namespace and sets it up. It accepts
    /// TCP super-frames and partial checksums, in both directions, and never blocks. It has no
    /// link-local address in IPv6, for which the machine would speak on it: that would be heard
    /// at the other end of a tunnel, in somebody else's LAN.
    ///
    /// # Errors
    ///
    /// There is an interface of that name, the kernel has no TUN/TAP, it refuses, or
    /// /proc/sys/net may not be written.
    pub fn open(settings: &TapSettings) -> Result<Self> {
        check_name(&settings.name)?;
        let name = settings.name.as_str();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(DEVICE)
            .map_err(|e| {
                Error::refused("open", DEVICE, e)
                    .advise(libc::ENOENT, NO_TUN)
                    .advise(libc::ENODEV, NO_TUN)
            })?;
        // An interface that persists from elsewhere is not ours to take: EXCL.
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
        sys::tun_set_interface(&file, name, flags).map_err(|e| {
            Error::refused("make the TAP interface", name, e)
                .advise(libc::EBUSY, "an interface has that name: delete it, or choose another")
        })?;
        sys::tun_set_header(&file, VNET_HEADER)
            .map_err(|e| Error::refused("set the header size of", name, e))?;
        // USO came with Linux 6.2; TSO and checksums every kernel has.
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        sys::tun_set_offload(&file, tcp)
            .map_err(|e| Error::refused("set the offloads of", name, e))?;

        let mut links = Links::open()?;
        let link = links.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
        let mut tap = Self {
            file,
            name: name.to_owned(),
            index: link.index,
            mac: link.mac.unwrap_or(Mac::new([0; 6])),
            mtu: AtomicU32::new(0),
        };
        if let Some(mac) = settings.mac.filter(|mac| *mac != tap.mac) {
            tap.change("set the MAC address of", IFLA_ADDRESS, &mac.octets())?;
            tap.mac = mac;
        }
        tap.set_mtu(settings.mtu)?;
        // Before it is up: with the carrier comes the address.
        no_link_local(name)?;
        links.set_up(name)?;
        Ok(tap)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its MAC address, as it was when the interface was made.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The largest IP packet that fits into a frame, in octets.
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Changes the largest IP packet; nothing happens if it is that.
    ///
    /// # Errors
    ///
    /// Below 68 or above 65,521 octets, or the interface is gone.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        if mtu != self.mtu() {
            self.change("set the MTU of", IFLA_MTU, &mtu.to_ne_bytes())?;
            self.mtu.store(mtu, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads one frame: its virtio-net header into `header`, the rest into `frame`. `None` if
    /// there is none. Gives the octets of the frame; what does not fit is cut off.
    ///
    /// # Errors
    ///
    /// `EBADFD` once the interface was deleted; otherwise what the kernel says.
    pub fn read(
        &self,
        header: &mut [u8; VNET_HEADER],
        frame: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let mut parts = [IoSliceMut::new(header), IoSliceMut::new(frame)];
        match retry(|| (&self.file).read_vectored(&mut parts)) {
            Ok(n) => n
                .checked_sub(VNET_HEADER)
                .map(Some)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes one frame, in as many parts as it has (at most 1,024); the first is the virtio-net
    /// header.
    ///
    /// # Errors
    ///
    /// `EIO` while the interface is down, `EBADFD` once it was deleted, `EINVAL` for a header that
    /// does not describe the frame; otherwise what the kernel says.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        retry(|| (&self.file).write_vectored(parts)).map(|_| ())
    }

    fn change(&self, operation: &'static str, attribute: u16, value: &[u8]) -> Result<()> {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&self.index.to_ne_bytes());
        let refused = |refusal: Refusal| Error::refused(operation, &self.name, refusal);
        Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| refused(e.into()))?
            .request(libc::RTM_NEWLINK, Body::new(&fixed).with(attribute, value).octets())
            .map(|_| ())
            .map_err(refused)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

const NO_TUN: &str = "the kernel has no TUN/TAP: load the module tun (CONFIG_TUN)";
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;

/// A signal that interrupts a call is no reason to lose a frame.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
