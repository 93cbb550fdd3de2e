//! Whatever gpsd says is decoded or refused.

use homeward_gpsd::testing::fuzz_report;
use proptest::prelude::*;

/// Values that a field may have, sound and not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        Just("null".to_owned()),
        Just("\"2005-06-08T10:34:48.283Z\"".to_owned()),
        "[a-z\"{}:, ]{0,9}",
    ]
}

proptest! {
    #[test]
    fn any_line_is_decoded_or_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        fields in proptest::collection::vec((prop::sample::select(vec![
            "mode", "time", "lat", "lon", "eph", "epx", "epy", "speed", "track", "proto_major",
        ]), value()), 0..9),
    ) {
        fuzz_report(&octets);
        let fields: String =
            fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        fuzz_report(format!("{{\"class\":\"TPV\",\"mode\":3,\"lat\":1,\"lon\":1{fields}}}").as_bytes());
    }
}
