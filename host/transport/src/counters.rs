//! What a server saw.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

/// What a server saw since it started, all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams handed to the service.
    pub received: u64,
    /// Replies sent.
    pub sent: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full (or, rarely, their
    /// checksum wrong).
    pub dropped: u64,
    /// Datagrams dropped because they were longer than [`MAX_DATAGRAM`](crate::MAX_DATAGRAM).
    pub truncated: u64,
    /// Times that receiving failed.
    pub receive_errors: u64,
    /// Replies not sent because nobody is there: ECONNREFUSED, EHOSTUNREACH, ENETUNREACH,
    /// ENETDOWN, EHOSTDOWN.
    pub unreachable: u64,
    /// Replies not sent because a firewall or policy forbids it: EPERM, EACCES.
    pub forbidden: u64,
    /// Replies not sent because the system had no room for them: EAGAIN, ENOBUFS, ENOMEM.
    pub no_room: u64,
    /// Replies not sent for any other reason, such as EMSGSIZE.
    pub send_errors: u64,
}

impl Counters {
    /// Every counter with its name, in order, for metrics.
    pub const fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("received", self.received),
            ("sent", self.sent),
            ("dropped", self.dropped),
            ("truncated", self.truncated),
            ("receive_errors", self.receive_errors),
            ("unreachable", self.unreachable),
            ("forbidden", self.forbidden),
            ("no_room", self.no_room),
            ("send_errors", self.send_errors),
        ]
    }
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            dropped: self.dropped + other.dropped,
            truncated: self.truncated + other.truncated,
            receive_errors: self.receive_errors + other.receive_errors,
            unreachable: self.unreachable + other.unreachable,
            forbidden: self.forbidden + other.forbidden,
            no_room: self.no_room + other.no_room,
            send_errors: self.send_errors + other.send_errors,
        }
    }
}

/// One worker's share. On a cache line of its own, so that workers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) truncated: AtomicU64,
    pub(crate) receive_errors: AtomicU64,
    unreachable: AtomicU64,
    forbidden: AtomicU64,
    no_room: AtomicU64,
    send_errors: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn send_failed(&self, errno: Errno) {
        let counter = match errno {
            Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN => &self.unreachable,
            Errno::EPERM | Errno::EACCES => &self.forbidden,
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => &self.no_room,
            _ => &self.send_errors,
        };
        add(counter, 1);
    }

    pub(crate) fn add_to(&self, sum: &mut Counters) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.received += get(&self.received);
        sum.sent += get(&self.sent);
        sum.truncated += get(&self.truncated);
        sum.receive_errors += get(&self.receive_errors);
        sum.unreachable += get(&self.unreachable);
        sum.forbidden += get(&self.forbidden);
        sum.no_room += get(&self.no_room);
        sum.send_errors += get(&self.send_errors);
    }
}

/// What the kernel dropped at the sockets with these inodes, out of `/proc/net/udp` or `udp6`
/// (the tenth field is the inode, the last the drops).
pub(crate) fn kernel_drops(table: &str, inodes: &[u64]) -> u64 {
    let lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace());
    lines
        .filter_map(|mut fields| {
            let inode: u64 = fields.nth(9)?.parse().ok()?;
            inodes.contains(&inode).then(|| fields.next_back()?.parse::<u64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_drops_are_found_by_inode() {
        // The layout of net/ipv4/udp.c, udp4_format_sock().
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  426: 0100007F:0714 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5001 2 0000000000000000 17
  426: 0100007F:0714 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5002 2 0000000000000000 4
  500: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5003 2 0000000000000000 900
 broken line\n";
        assert_eq!(kernel_drops(table, &[5001, 5002]), 21);
        assert_eq!(kernel_drops(table, &[]), 0);
        assert_eq!(kernel_drops("", &[5001]), 0);
    }

    #[test]
    fn a_reply_that_was_not_sent_is_counted_under_its_reason() {
        let tally = Tally::default();
        for errno in [Errno::ECONNREFUSED, Errno::EPERM, Errno::ENOBUFS, Errno::EMSGSIZE] {
            tally.send_failed(errno);
        }
        let mut sum = Counters::default();
        tally.add_to(&mut sum);
        assert_eq!([sum.unreachable, sum.forbidden, sum.no_room, sum.send_errors], [1; 4]);
    }
}
