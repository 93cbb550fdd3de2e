//! Why a server's socket cannot be had, and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;

/// Why a server cannot listen on an address. It names the address, the system's reason (as source)
/// and the repair.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} {address}{}", Repair { protocol, address, error: source })]
pub struct BindError {
    /// UDP or TCP.
    pub protocol: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The system's reason; its kind and number survive.
    pub source: io::Error,
}

struct Repair<'a> {
    protocol: &'a str,
    address: &'a SocketAddr,
    error: &'a io::Error,
}

impl fmt::Display for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        match self.error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => write!(
                f,
                ": another process has it, perhaps another `homeward core` or a RADIUS server \
                 (`ss -{}lpn 'sport = :{port}'` shows which); stop it, or listen on another port",
                if self.protocol == "UDP" { 'u' } else { 't' }
            ),
            Some(Errno::EACCES | Errno::EPERM) if port < 1024 => write!(
                f,
                ": ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or listen on a port from \
                 1024 on"
            ),
            Some(Errno::EACCES | Errno::EPERM) => {
                write!(f, ": a security policy forbids it (a sandbox, SELinux or AppArmor)")
            }
            Some(Errno::EADDRNOTAVAIL) => write!(
                f,
                ": {ip} is no address of this machine (`ip address` lists those that are)"
            ),
            Some(Errno::EAFNOSUPPORT) if ip.is_ipv6() => {
                write!(f, ": this machine has IPv6 switched off; listen on an IPv4 address")
            }
            Some(Errno::EMFILE | Errno::ENFILE) => {
                write!(f, ": too many open files; raise the limit (`LimitNOFILE`)")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repair_depends_on_the_reason() {
        let told = |address: &str, errno: Errno| {
            let source = io::Error::from_raw_os_error(errno as i32);
            BindError { protocol: "UDP", address: address.parse().unwrap(), source }.to_string()
        };
        for (address, errno, part) in [
            ("127.0.0.1:1812", Errno::EADDRINUSE, "ss -ulpn 'sport = :1812'"),
            ("127.0.0.1:812", Errno::EACCES, "ports below 1024"),
            ("127.0.0.1:1812", Errno::EACCES, "a security policy"),
            ("192.0.2.1:1812", Errno::EADDRNOTAVAIL, "192.0.2.1 is no address of this machine"),
            ("[::1]:1812", Errno::EAFNOSUPPORT, "listen on an IPv4 address"),
        ] {
            let text = told(address, errno);
            assert!(text.starts_with(&format!("cannot listen on UDP {address}: ")), "{text}");
            assert!(text.contains(part), "{text}");
        }
    }
}
