//! 3GPP's attributes (TS 29.061 16.4.7.2).

/// The vendor's SMI enterprise number.
pub const VENDOR: u32 = 10_415;

super::attributes! { VENDOR;
    1, IMSI, "3GPP-IMSI", Text, Identity, "3GPP TS 29.061 16.4.7.2";
    2, CHARGING_ID, "3GPP-Charging-Id", Integer, Open, "3GPP TS 29.061 16.4.7.2";
    3, PDP_TYPE, "3GPP-PDP-Type", Integer, Open, "3GPP TS 29.061 16.4.7.2";
    4, CG_ADDRESS, "3GPP-CG-Address", Ipv4, Open, "3GPP TS 29.061 16.4.7.2";
    5, GPRS_NEGOTIATED_QOS_PROFILE, "3GPP-GPRS-Negotiated-QoS-Profile", Text, Open, "3GPP TS 29.061 16.4.7.2";
    6, SGSN_ADDRESS, "3GPP-SGSN-Address", Ipv4, Open, "3GPP TS 29.061 16.4.7.2";
    7, GGSN_ADDRESS, "3GPP-GGSN-Address", Ipv4, Open, "3GPP TS 29.061 16.4.7.2";
    8, IMSI_MCC_MNC, "3GPP-IMSI-MCC-MNC", Text, Open, "3GPP TS 29.061 16.4.7.2";
    9, GGSN_MCC_MNC, "3GPP-GGSN-MCC-MNC", Text, Open, "3GPP TS 29.061 16.4.7.2";
    10, NSAPI, "3GPP-NSAPI", Text, Open, "3GPP TS 29.061 16.4.7.2";
    11, SESSION_STOP_INDICATOR, "3GPP-Session-Stop-Indicator", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    12, SELECTION_MODE, "3GPP-Selection-Mode", Text, Open, "3GPP TS 29.061 16.4.7.2";
    13, CHARGING_CHARACTERISTICS, "3GPP-Charging-Characteristics", Text, Open, "3GPP TS 29.061 16.4.7.2";
    14, CG_IPV6_ADDRESS, "3GPP-CG-IPv6-Address", Ipv6, Open, "3GPP TS 29.061 16.4.7.2";
    15, SGSN_IPV6_ADDRESS, "3GPP-SGSN-IPv6-Address", Ipv6, Open, "3GPP TS 29.061 16.4.7.2";
    16, GGSN_IPV6_ADDRESS, "3GPP-GGSN-IPv6-Address", Ipv6, Open, "3GPP TS 29.061 16.4.7.2";
    17, IPV6_DNS_SERVERS, "3GPP-IPv6-DNS-Servers", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    18, SGSN_MCC_MNC, "3GPP-SGSN-MCC-MNC", Text, Open, "3GPP TS 29.061 16.4.7.2";
    19, TEARDOWN_INDICATOR, "3GPP-Teardown-Indicator", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    20, IMEISV, "3GPP-IMEISV", Text, Identity, "3GPP TS 29.061 16.4.7.2";
    21, RAT_TYPE, "3GPP-RAT-Type", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    22, USER_LOCATION_INFO, "3GPP-User-Location-Info", Octets, Identity, "3GPP TS 29.061 16.4.7.2";
    23, MS_TIMEZONE, "3GPP-MS-TimeZone", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    24, CAMEL_CHARGING_INFO, "3GPP-CAMEL-Charging-Info", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    25, PACKET_FILTER, "3GPP-Packet-Filter", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    26, NEGOTIATED_DSCP, "3GPP-Negotiated-DSCP", Octets, Open, "3GPP TS 29.061 16.4.7.2";
    27, ALLOCATE_IP_TYPE, "3GPP-Allocate-IP-Type", Octets, Open, "3GPP TS 29.061 16.4.7.2";
}
