//! `Debug` for the wire's messages that carry keys.

use std::fmt;

use crate::pb;

/// Prints whether a secret is there, and how long it is, but not what it is.
struct Redacted(usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} octets redacted]", self.0)
    }
}

macro_rules! redacted {
    ($type:ident { $($shown:ident),* } $($secret:ident),+) => {
        impl fmt::Debug for pb::$type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($shown), &self.$shown))*
                    $(.field(stringify!($secret), &Redacted(self.$secret.len())))+
                    .finish()
            }
        }
    };
}

redacted!(EnrolRequest { signing_request } token);
redacted!(HeldLogin { mac } name);
redacted!(HeldTunnel { tunnel, network, side, peer, local_session, remote_session, encrypted, legs }
    local_cookie, remote_cookie, preshared_key);
redacted!(Leg { public_key, local_session, remote_session } local_cookie, remote_cookie);
redacted!(Peer { gateway, name, public_key, inner_address, endpoints } preshared_key);
redacted!(OpenTunnel {
    tunnel, network, side, peer, encrypted, local_session, remote_session, macs, terms, routers,
    legs
} local_cookie, remote_cookie);
