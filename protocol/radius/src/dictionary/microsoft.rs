//! Microsoft's attributes (RFC 2548).

/// The vendor's SMI enterprise number.
pub const VENDOR: u32 = 311;

super::attributes! { VENDOR;
    1, CHAP_RESPONSE, "MS-CHAP-Response", Octets, Secret, "RFC 2548";
    2, CHAP_ERROR, "MS-CHAP-Error", Octets, Open, "RFC 2548";
    3, CHAP_CPW_1, "MS-CHAP-CPW-1", Octets, Secret, "RFC 2548";
    4, CHAP_CPW_2, "MS-CHAP-CPW-2", Octets, Secret, "RFC 2548";
    5, CHAP_LM_ENC_PW, "MS-CHAP-LM-Enc-PW", Octets, Secret, "RFC 2548";
    6, CHAP_NT_ENC_PW, "MS-CHAP-NT-Enc-PW", Octets, Secret, "RFC 2548";
    7, MPPE_ENCRYPTION_POLICY, "MS-MPPE-Encryption-Policy", Integer, Open, "RFC 2548";
    8, MPPE_ENCRYPTION_TYPES, "MS-MPPE-Encryption-Types", Integer, Open, "RFC 2548";
    9, RAS_VENDOR, "MS-RAS-Vendor", Integer, Open, "RFC 2548";
    10, CHAP_DOMAIN, "MS-CHAP-Domain", Octets, Open, "RFC 2548";
    11, CHAP_CHALLENGE, "MS-CHAP-Challenge", Octets, Open, "RFC 2548";
    12, CHAP_MPPE_KEYS, "MS-CHAP-MPPE-Keys", Octets, Secret, "RFC 2548";
    13, BAP_USAGE, "MS-BAP-Usage", Integer, Open, "RFC 2548";
    14, LINK_UTILIZATION_THRESHOLD, "MS-Link-Utilization-Threshold", Integer, Open, "RFC 2548";
    15, LINK_DROP_TIME_LIMIT, "MS-Link-Drop-Time-Limit", Integer, Open, "RFC 2548";
    16, MPPE_SEND_KEY, "MS-MPPE-Send-Key", Salted, Secret, "RFC 2548 2.4.2";
    17, MPPE_RECV_KEY, "MS-MPPE-Recv-Key", Salted, Secret, "RFC 2548 2.4.3";
    18, RAS_VERSION, "MS-RAS-Version", Text, Open, "RFC 2548";
    19, OLD_ARAP_PASSWORD, "MS-Old-ARAP-Password", Octets, Secret, "RFC 2548";
    20, NEW_ARAP_PASSWORD, "MS-New-ARAP-Password", Octets, Secret, "RFC 2548";
    21, ARAP_PASSWORD_CHANGE_REASON, "MS-ARAP-Password-Change-Reason", Integer, Open, "RFC 2548";
    22, FILTER, "MS-Filter", Octets, Open, "RFC 2548";
    23, ACCT_AUTH_TYPE, "MS-Acct-Auth-Type", Integer, Open, "RFC 2548";
    24, ACCT_EAP_TYPE, "MS-Acct-EAP-Type", Integer, Open, "RFC 2548";
    25, CHAP2_RESPONSE, "MS-CHAP2-Response", Octets, Secret, "RFC 2548";
    26, CHAP2_SUCCESS, "MS-CHAP2-Success", Octets, Secret, "RFC 2548";
    27, CHAP2_CPW, "MS-CHAP2-CPW", Octets, Secret, "RFC 2548";
    28, PRIMARY_DNS_SERVER, "MS-Primary-DNS-Server", Ipv4, Open, "RFC 2548";
    29, SECONDARY_DNS_SERVER, "MS-Secondary-DNS-Server", Ipv4, Open, "RFC 2548";
    30, PRIMARY_NBNS_SERVER, "MS-Primary-NBNS-Server", Ipv4, Open, "RFC 2548";
    31, SECONDARY_NBNS_SERVER, "MS-Secondary-NBNS-Server", Ipv4, Open, "RFC 2548";
    33, ARAP_CHALLENGE, "MS-ARAP-Challenge", Octets, Open, "RFC 2548";
}
