//! MikroTik's attributes for hotspots, as RouterOS understands them.

/// The vendor's SMI enterprise number.
pub const VENDOR: u32 = 14_988;

super::attributes! { VENDOR;
    1, RECV_LIMIT, "Mikrotik-Recv-Limit", Integer, Open, "RouterOS, the lower 32 bits";
    2, XMIT_LIMIT, "Mikrotik-Xmit-Limit", Integer, Open, "RouterOS, the lower 32 bits";
    8, RATE_LIMIT, "Mikrotik-Rate-Limit", Text, Open, "RouterOS";
    14, RECV_LIMIT_GIGAWORDS, "Mikrotik-Recv-Limit-Gigawords", Integer, Open, "RouterOS, the higher 32 bits";
    15, XMIT_LIMIT_GIGAWORDS, "Mikrotik-Xmit-Limit-Gigawords", Integer, Open, "RouterOS, the higher 32 bits";
    17, TOTAL_LIMIT, "Mikrotik-Total-Limit", Integer, Open, "RouterOS, the lower 32 bits";
    18, TOTAL_LIMIT_GIGAWORDS, "Mikrotik-Total-Limit-Gigawords", Integer, Open, "RouterOS, the higher 32 bits";
}
