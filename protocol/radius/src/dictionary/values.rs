//! Names of enumerated values, for logs.

use super::{homeward, standard as std_};

/// The name of an enumerated value, if it is known; vendor 0 is the IETF.
pub fn value_name(vendor: u32, kind: u8, value: u32) -> Option<&'static str> {
    let (_, _, names) = NAMES.iter().find(|(v, k, _)| (*v, *k) == (vendor, kind))?;
    names.iter().find(|(number, _)| *number == value).map(|(_, name)| *name)
}

type Names = &'static [(u32, &'static str)];

const NAMES: &[(u32, u8, Names)] = &[
    // RFC 2865 5.6
    (
        0,
        std_::SERVICE_TYPE,
        &[
            (1, "Login"),
            (2, "Framed"),
            (3, "Callback-Login"),
            (4, "Callback-Framed"),
            (5, "Outbound"),
            (6, "Administrative"),
            (7, "NAS-Prompt"),
            (8, "Authenticate-Only"),
            (9, "Callback-NAS-Prompt"),
            (10, "Call-Check"),
            (11, "Callback-Administrative"),
            (17, "Authorize-Only"),
        ],
    ),
    // RFC 2865 5.29
    (0, std_::TERMINATION_ACTION, &[(0, "Default"), (1, "RADIUS-Request")]),
    // RFC 2866 5.1
    (
        0,
        std_::ACCT_STATUS_TYPE,
        &[
            (1, "Start"),
            (2, "Stop"),
            (3, "Interim-Update"),
            (7, "Accounting-On"),
            (8, "Accounting-Off"),
        ],
    ),
    // RFC 2866 5.10
    (
        0,
        std_::ACCT_TERMINATE_CAUSE,
        &[
            (1, "User-Request"),
            (2, "Lost-Carrier"),
            (3, "Lost-Service"),
            (4, "Idle-Timeout"),
            (5, "Session-Timeout"),
            (6, "Admin-Reset"),
            (7, "Admin-Reboot"),
            (8, "Port-Error"),
            (9, "NAS-Error"),
            (10, "NAS-Request"),
            (11, "NAS-Reboot"),
            (12, "Port-Unneeded"),
            (13, "Port-Preempted"),
            (14, "Port-Suspended"),
            (15, "Service-Unavailable"),
            (16, "Callback"),
            (17, "User-Error"),
            (18, "Host-Request"),
        ],
    ),
    // RFC 2865 5.41
    (0, std_::NAS_PORT_TYPE, &[(5, "Virtual"), (15, "Ethernet"), (19, "Wireless-IEEE-802.11")]),
    // RFC 5176 3.5
    (
        0,
        std_::ERROR_CAUSE,
        &[
            (201, "Residual-Session-Context-Removed"),
            (202, "Invalid-EAP-Packet"),
            (401, "Unsupported-Attribute"),
            (402, "Missing-Attribute"),
            (403, "NAS-Identification-Mismatch"),
            (404, "Invalid-Request"),
            (405, "Unsupported-Service"),
            (406, "Unsupported-Extension"),
            (407, "Invalid-Attribute-Value"),
            (501, "Administratively-Prohibited"),
            (502, "Request-Not-Routable"),
            (503, "Session-Context-Not-Found"),
            (504, "Session-Context-Not-Removable"),
            (505, "Other-Proxy-Processing-Error"),
            (506, "Resources-Unavailable"),
            (507, "Request-Initiated"),
            (508, "Multiple-Session-Selection-Unsupported"),
        ],
    ),
    (homeward::VENDOR, homeward::SECURITY, &[(1, "wpa2-psk"), (2, "wpa3-sae"), (3, "wpa2-wpa3")]),
    (homeward::VENDOR, homeward::QUOTA_PERIOD, &[(1, "day"), (2, "week"), (3, "month")]),
    (homeward::VENDOR, homeward::ENCRYPTION, &[(1, "required"), (2, "off")]),
    (homeward::VENDOR, homeward::ANCHOR, &[(1, "home"), (2, "local")]),
    (homeward::VENDOR, homeward::BONDING, &[(1, "mirrored"), (2, "striped"), (3, "both")]),
];
