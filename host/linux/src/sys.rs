//! The system calls that no library wraps: every `unsafe` block of the house.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t};
use socket2::{SockAddr, SockAddrStorage, Socket};
use tokio::io::unix::AsyncFd;

/// `PACKET_STATISTICS`: what a packet socket counted since it was last asked.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PacketStatistics {
    /// Frames that passed the filter, those dropped included.
    pub(crate) packets: u32,
    /// Frames that found the receive buffer full.
    pub(crate) drops: u32,
}

/// Sets a socket option whose value is an int.
pub(crate) fn set_option(
    socket: &impl AsFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; the pointer is to a live int,
    // and the length is that int's.
    let rc =
        unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len_of::<c_int>()) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads and clears a packet socket's counters.
pub(crate) fn packet_statistics(socket: &impl AsFd) -> io::Result<PacketStatistics> {
    let fd = socket.as_fd().as_raw_fd();
    let mut room = MaybeUninit::<PacketStatistics>::zeroed();
    let mut len = len_of::<PacketStatistics>();
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel writes at most
    // `len` octets, which is the room's size (struct tpacket_stats is two 32-bit counters).
    let rc = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            room.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the room was zeroed, and any bits are a valid pair of counters.
    Ok(unsafe { room.assume_init() })
}

/// The link-level address "every protocol, on the interface of this index".
pub(crate) fn packet_address(index: u32) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the addresses that sockaddr_storage has room and alignment
    // for, and is valid for any bits.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = c_int::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the storage holds a sockaddr_ll of that length, with its family set.
    Ok(unsafe { SockAddr::new(storage, len_of::<libc::sockaddr_ll>()) })
}

/// Hands a non-blocking socket to the runtime of the calling task.
pub(crate) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a socket owns its descriptor and closes it on drop only, and always names the same
    // one; nobody in this crate takes `&mut` of the socket to put another in its place.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Makes the interface `name` (at most 15 octets) the other end of an opened `/dev/net/tun`.
pub(crate) fn tun_set_interface(tun: &impl AsFd, name: &str, flags: c_int) -> io::Result<()> {
    // SAFETY: `struct ifreq` is integers and addresses, for which zero is a value.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // The last octet stays zero, which ends the name.
    for (room, octet) in request.ifr_name.iter_mut().take(15).zip(name.bytes()) {
        *room = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open for as long as it is borrowed; TUNSETIFF reads and writes one
    // `struct ifreq`.
    let rc =
        unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the size of the virtio-net header in front of each frame.
pub(crate) fn tun_set_header(tun: &impl AsFd, octets: usize) -> io::Result<()> {
    let octets = c_int::try_from(octets).map_err(io::Error::other)?;
    let fd = tun.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; TUNSETVNETHDRSZ reads one int.
    let rc = unsafe { libc::ioctl(fd, libc::TUNSETVNETHDRSZ as _, &raw const octets) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Says which offloads the reader of a TUN/TAP descriptor can do (`TUN_F_*`).
pub(crate) fn tun_set_offload(tun: &impl AsFd, offloads: libc::c_uint) -> io::Result<()> {
    let fd = tun.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; TUNSETOFFLOAD takes its
    // argument by value.
    let rc = unsafe { libc::ioctl(fd, libc::TUNSETOFFLOAD as _, libc::c_ulong::from(offloads)) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const fn len_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}
