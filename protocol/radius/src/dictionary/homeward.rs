//! Homeward's own attributes.
//!
//! No enterprise number is assigned to Homeward yet. Until one is, these are under 32473, which
//! RFC 5612 reserves for examples: do not let them leave the operator's own network. Changing
//! the number is a change of [`VENDOR`] and of nothing else.

/// The SMI enterprise number: RFC 5612's example, see above.
pub const VENDOR: u32 = 32_473;

super::attributes! { VENDOR;
    1, NETWORK_ID, "Homeward-Network-Id", Integer64, Open, "the home network's key in the datastore";
    2, SSID, "Homeward-SSID", Octets, Open, "the SSID to announce";
    3, SECURITY, "Homeward-Security", Integer, Open, "1 WPA2-PSK, 2 WPA3-SAE, 3 either";
    4, PRIORITY, "Homeward-Priority", Integer, Open, "0 (last) to 7 (first)";
    5, QUOTA_OCTETS, "Homeward-Quota-Octets", Integer64, Open, "octets of both directions per period";
    6, QUOTA_PERIOD, "Homeward-Quota-Period", Integer, Open, "1 day, 2 week, 3 month";
    7, ENCRYPTION, "Homeward-Encryption", Integer, Open, "1 required, 2 off";
    8, BONDING, "Homeward-Bonding", Integer, Open, "bit 0 mirrored, bit 1 striped";
    9, HANDOFF_THRESHOLD, "Homeward-Handoff-Threshold", Signed, Open, "dBm";
    10, REFUSAL_REASON, "Homeward-Refusal-Reason", Integer, Open, "the model's RefusalReason";
    11, AT_HOME, "Homeward-At-Home", Integer, Open, "1 at the home gateway, 0 elsewhere";
    12, SIGNAL, "Homeward-Signal", Signed, Open, "RSSI of the probe, dBm; in requests";
    13, ANCHOR, "Homeward-Anchor", Integer, Open, "where traffic leaves: 1 home, 2 local";
}
