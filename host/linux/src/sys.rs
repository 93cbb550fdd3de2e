//! The system calls that no library wraps: every `unsafe` block of the house.

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
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

/// How many messages one call sends or receives at most.
pub(crate) const MESSAGES: usize = 16;

/// A datagram, or a run of them of one size, to send.
pub(crate) struct OutMessage<'a> {
    pub(crate) to: SockAddr,
    /// The address to send from; the kernel's choice if `None`. In the socket's own family: IPv4
    /// addresses of an IPv6 socket are mapped.
    pub(crate) from: Option<IpAddr>,
    /// The interface to leave by; 0 leaves it to the routing table.
    pub(crate) interface: u32,
    pub(crate) parts: &'a [IoSlice<'a>],
    /// The size of each datagram but the last, where there are several.
    pub(crate) segment: Option<u16>,
}

/// What is known of a datagram, or a run of them of one size, that was received.
pub(crate) struct InMessage {
    pub(crate) from: SocketAddr,
    /// The address that it was sent to, if the socket tells.
    pub(crate) to: Option<IpAddr>,
    pub(crate) len: usize,
    /// The size of each datagram but the last, where there are several.
    pub(crate) segment: Option<u16>,
    /// Whether the room was too small.
    pub(crate) cut: bool,
}

/// Room for the control messages that come and go with a message: the size of segments (an int)
/// and the local address (20 octets), each with its header. In 64-bit words, for alignment.
type Control = [u64; 10];

/// Sends the messages up to the first `None`; gives how many went. The error is that of the first.
pub(crate) fn send_messages(
    socket: &impl AsFd,
    messages: &[Option<OutMessage<'_>>; MESSAGES],
) -> io::Result<usize> {
    // SAFETY: for all three, zero is a value: integers and null pointers.
    let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut controls: [Control; MESSAGES] = [[0; 10]; MESSAGES];
    let mut count = 0;
    let messages = messages.iter().map_while(Option::as_ref);
    for ((header, control), message) in headers.iter_mut().zip(&mut controls).zip(messages) {
        let header = &mut header.msg_hdr;
        // The kernel reads name and parts only, though their pointers are to mutable.
        header.msg_name = message.to.as_ptr().cast_mut().cast();
        header.msg_namelen = message.to.len();
        // An IoSlice has the layout of an iovec: the standard library says so.
        header.msg_iov = message.parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = message.parts.len() as _;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
        let mut used = 0;
        if let Some(segment) = message.segment {
            // SAFETY: the control room is zeroed, large enough for both messages, and the header
            // points to it.
            used += unsafe { put_control(header, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment) };
        }
        let index = c_int::try_from(message.interface).unwrap_or_default();
        let from = message.from.or_else(|| (index != 0).then(|| unspecified(&message.to)));
        match from {
            Some(IpAddr::V4(from)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: index,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                // SAFETY: as above.
                used +=
                    unsafe { put_control(header, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info) };
            }
            Some(IpAddr::V6(from)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                    ipi6_ifindex: message.interface,
                };
                let (level, kind) = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
                // SAFETY: as above.
                used += unsafe { put_control(header, used, level, kind, info) };
            }
            None => {}
        }
        header.msg_controllen = used as _;
        if used == 0 {
            header.msg_control = std::ptr::null_mut();
        }
        count += 1;
    }
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; the first `count` headers
    // point to names, parts and controls that live until the call returns.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The address of a family that is none.
fn unspecified(to: &SockAddr) -> IpAddr {
    match to.as_socket_ipv6() {
        // An IPv6 socket takes IPv6's pktinfo only, and for an IPv4 address a mapped one.
        Some(to) if to.ip().to_ipv4_mapped().is_some() => {
            Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into()
        }
        Some(_) => Ipv6Addr::UNSPECIFIED.into(),
        None => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// Writes one control message behind the `used` octets of the header's control room; gives how
/// many octets it takes.
///
/// # Safety
///
/// `header.msg_control` points to a zeroed room, aligned for a `cmsghdr`, with
/// `CMSG_SPACE(size_of::<T>())` octets left after `used`.
unsafe fn put_control<T>(
    header: &libc::msghdr,
    used: usize,
    level: c_int,
    kind: c_int,
    value: T,
) -> usize {
    // SAFETY: within the room, and aligned, for CMSG_SPACE is a multiple of the alignment.
    let message: *mut libc::cmsghdr = unsafe { header.msg_control.add(used) }.cast();
    // SAFETY: these two compute sizes only.
    let (len, space) =
        unsafe { (libc::CMSG_LEN(size_of::<T>() as _), libc::CMSG_SPACE(size_of::<T>() as _)) };
    // SAFETY: the room has space for the header and the value; the value may be unaligned.
    unsafe {
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = len as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
    }
    space as usize
}

/// Receives up to [`MESSAGES`] messages, one a room, without waiting.
pub(crate) fn receive_messages<'a>(
    socket: &impl AsFd,
    rooms: impl Iterator<Item = &'a mut [u8]>,
    mut found: impl FnMut(InMessage),
) -> io::Result<usize> {
    // SAFETY: for all of them, zero is a value: integers and null pointers.
    let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut names: [libc::sockaddr_in6; MESSAGES] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut parts: [libc::iovec; MESSAGES] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut controls: [Control; MESSAGES] = [[0; 10]; MESSAGES];
    let mut count = 0;
    for ((((header, name), part), control), room) in
        headers.iter_mut().zip(&mut names).zip(&mut parts).zip(&mut controls).zip(rooms)
    {
        part.iov_base = room.as_mut_ptr().cast();
        part.iov_len = room.len();
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = len_of::<libc::sockaddr_in6>();
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
        count += 1;
    }
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as it is borrowed; the first `count` headers
    // point to names, rooms and controls that live until the call returns, and are borrowed for
    // writing until then.
    let received = unsafe {
        libc::recvmmsg(
            fd,
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, name) in headers.iter().zip(&names).take(received) {
        // SAFETY: the kernel wrote controls of the length that it put into the header.
        let (segment, to) = unsafe { controls_of(&header.msg_hdr) };
        let from = address_of(name);
        found(InMessage {
            from: from.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            to,
            len: header.msg_len as usize,
            segment,
            cut: from.is_none() || header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        });
    }
    Ok(received)
}

/// Takes the first message from a socket's error queue. Gives what it says of the path MTU, if it
/// does, and where the datagram was to go that it is about. What the machine itself complains of
/// is not meant.
pub(crate) fn receive_error(socket: &impl AsFd) -> io::Result<Option<(SocketAddr, u32)>> {
    // SAFETY: zero is a value of integers and null pointers.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut name: libc::sockaddr_in6 = unsafe { MaybeUninit::zeroed().assume_init() };
    // The error with the address of who complains, and the local address: each with its header.
    let mut control = [0u64; 24];
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = len_of::<libc::sockaddr_in6>();
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let (fd, flags) = (socket.as_fd().as_raw_fd(), libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT);
    // SAFETY: the descriptor is open for as long as it is borrowed; the header points to a name
    // and to controls that live until the call returns. The octets of the datagram have no room,
    // and are dropped.
    if unsafe { libc::recvmsg(fd, &raw mut header, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut mtu = None;
    // SAFETY: the kernel wrote the controls, and their length into the header.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header inside the room.
    while let Some(control) = unsafe { next.as_ref() } {
        let kind = (control.cmsg_level, control.cmsg_type);
        let errors =
            [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
        if errors.contains(&kind) {
            // SAFETY: the data of such a control begins with a sock_extended_err; it may be
            // unaligned.
            let error = unsafe {
                libc::CMSG_DATA(control).cast::<libc::sock_extended_err>().read_unaligned()
            };
            let origins = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];
            if origins.contains(&error.ee_origin) && error.ee_errno == libc::EMSGSIZE as u32 {
                mtu = Some(error.ee_info);
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header, control) };
    }
    Ok(mtu.and_then(|mtu| Some((address_of(&name)?, mtu))))
}

/// The address of a received datagram: IPv4 and IPv6 fit into the room both.
fn address_of(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match c_int::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in, which is shorter than the room and aligned
            // no more strictly; any bits are valid.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 => Some(SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(name.sin6_addr.s6_addr),
            u16::from_be(name.sin6_port),
            name.sin6_flowinfo,
            name.sin6_scope_id,
        ))),
        _ => None,
    }
}

/// The size of segments and the local address among a received message's controls.
///
/// # Safety
///
/// The header's controls are as the kernel wrote them.
unsafe fn controls_of(header: &libc::msghdr) -> (Option<u16>, Option<IpAddr>) {
    let (mut segment, mut to) = (None, None);
    // SAFETY: the kernel wrote the controls, and their length into the header.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header inside the room.
    while let Some(control) = unsafe { next.as_ref() } {
        // SAFETY: the data of a control that the kernel wrote is behind its header, of the type
        // that its level and kind say; it may be unaligned.
        unsafe {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    segment = u16::try_from(data.cast::<c_int>().read_unaligned()).ok();
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, control);
        }
    }
    (segment.filter(|size| *size != 0), to)
}

const fn len_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}
