//! The Wi-Fi Alliance's attributes for hotspots (WISPr 1.0, annex A).

/// The vendor's SMI enterprise number.
pub const VENDOR: u32 = 14_122;

super::attributes! { VENDOR;
    1, LOCATION_ID, "WISPr-Location-ID", Text, Open, "WISPr 1.0";
    2, LOCATION_NAME, "WISPr-Location-Name", Text, Open, "WISPr 1.0";
    3, LOGOFF_URL, "WISPr-Logoff-URL", Text, Open, "WISPr 1.0";
    4, REDIRECTION_URL, "WISPr-Redirection-URL", Text, Open, "WISPr 1.0";
    5, BANDWIDTH_MIN_UP, "WISPr-Bandwidth-Min-Up", Integer, Open, "WISPr 1.0, bit/s";
    6, BANDWIDTH_MIN_DOWN, "WISPr-Bandwidth-Min-Down", Integer, Open, "WISPr 1.0, bit/s";
    7, BANDWIDTH_MAX_UP, "WISPr-Bandwidth-Max-Up", Integer, Open, "WISPr 1.0, bit/s";
    8, BANDWIDTH_MAX_DOWN, "WISPr-Bandwidth-Max-Down", Integer, Open, "WISPr 1.0, bit/s";
    9, SESSION_TERMINATE_TIME, "WISPr-Session-Terminate-Time", Text, Open, "WISPr 1.0";
    10, SESSION_TERMINATE_END_OF_DAY, "WISPr-Session-Terminate-End-Of-Day", Text, Open, "WISPr 1.0";
    11, BILLING_CLASS_OF_SERVICE, "WISPr-Billing-Class-Of-Service", Text, Open, "WISPr 1.0";
}
