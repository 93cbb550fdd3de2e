//! ChilliSpot's attributes, as CoovaChilli and others of its kind understand them.

/// The vendor's SMI enterprise number.
pub const VENDOR: u32 = 14_559;

super::attributes! { VENDOR;
    1, MAX_INPUT_OCTETS, "ChilliSpot-Max-Input-Octets", Integer, Open, "ChilliSpot, the lower 32 bits";
    2, MAX_OUTPUT_OCTETS, "ChilliSpot-Max-Output-Octets", Integer, Open, "ChilliSpot, the lower 32 bits";
    3, MAX_TOTAL_OCTETS, "ChilliSpot-Max-Total-Octets", Integer, Open, "ChilliSpot, the lower 32 bits";
    4, BANDWIDTH_MAX_UP, "ChilliSpot-Bandwidth-Max-Up", Integer, Open, "ChilliSpot, kbit/s";
    5, BANDWIDTH_MAX_DOWN, "ChilliSpot-Bandwidth-Max-Down", Integer, Open, "ChilliSpot, kbit/s";
    21, MAX_INPUT_GIGAWORDS, "ChilliSpot-Max-Input-Gigawords", Integer, Open, "CoovaChilli, the higher 32 bits";
    22, MAX_OUTPUT_GIGAWORDS, "ChilliSpot-Max-Output-Gigawords", Integer, Open, "CoovaChilli, the higher 32 bits";
    23, MAX_TOTAL_GIGAWORDS, "ChilliSpot-Max-Total-Gigawords", Integer, Open, "CoovaChilli, the higher 32 bits";
}
