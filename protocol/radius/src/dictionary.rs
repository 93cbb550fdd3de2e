//! What each attribute is: its name, the type of its value, and the care it needs.

pub mod chillispot;
pub mod homeward;
pub mod microsoft;
pub mod mikrotik;
pub mod standard;
pub mod threegpp;
mod values;
pub mod wispr;

pub use values::value_name;

/// What is known of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The vendor's SMI enterprise number; 0 for the IETF's own attributes.
    pub vendor: u32,
    /// The Type, or vendor type.
    pub kind: u8,
    /// The name.
    pub name: &'static str,
    /// The type of the value.
    pub value: ValueType,
    /// The care that the value needs in logs.
    pub care: Care,
    /// The document that defines it; for Homeward's own, what the value means.
    pub source: &'static str,
}

/// The type of a value (RFC 2865 5, RFC 8044 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// UTF-8.
    Text,
    /// Any octets.
    Octets,
    /// 32 bits, unsigned.
    Integer,
    /// 32 bits, two's complement; dBm.
    Signed,
    /// 64 bits, unsigned.
    Integer64,
    /// Seconds since 1970 in 32 bits.
    Time,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A tag (1 to 31), if there is one, and UTF-8 (RFC 2868 3).
    TaggedText,
    /// A tag and 24 bits (RFC 2868 3).
    TaggedInteger,
    /// Hidden as User-Password is (RFC 2865 5.2).
    Password,
    /// A tag and a salted hidden value (RFC 2868 3.5).
    TaggedSalted,
    /// A salted hidden value (RFC 2548 2.4.2).
    Salted,
    /// A vendor's number and attributes.
    Vendor,
}

/// The care that a value needs in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// None.
    Open,
    /// It tells who or where a subscriber is.
    Identity,
    /// It is a password or key, or good for guessing one; it is never shown.
    Secret,
}

/// The IETF attribute of that type, if it is known.
pub fn entry(kind: u8) -> Option<&'static Entry> {
    vendor_entry(0, kind)
}

/// A vendor's attribute of that type, if it is known; vendor 0 is the IETF.
pub fn vendor_entry(vendor: u32, kind: u8) -> Option<&'static Entry> {
    let table = TABLES.iter().find(|(number, _)| *number == vendor)?.1;
    table.get(table.binary_search_by_key(&kind, |entry| entry.kind).ok()?)
}

/// The attribute of that name, of whichever vendor, in either case.
pub fn by_name(name: &str) -> Option<&'static Entry> {
    TABLES.iter().flat_map(|(_, table)| *table).find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// The name of the IETF attribute of that type; "an unknown attribute" if it is not known.
pub fn name(kind: u8) -> &'static str {
    entry(kind).map_or("an unknown attribute", |entry| entry.name)
}

/// All attributes known, by vendor, each table in the order of the types.
pub const TABLES: [(u32, &[Entry]); 7] = [
    (0, standard::TABLE),
    (homeward::VENDOR, homeward::TABLE),
    (wispr::VENDOR, wispr::TABLE),
    (microsoft::VENDOR, microsoft::TABLE),
    (threegpp::VENDOR, threegpp::TABLE),
    (chillispot::VENDOR, chillispot::TABLE),
    (mikrotik::VENDOR, mikrotik::TABLE),
];

/// Declares a vendor's attributes: a constant for each type, and the table of all.
macro_rules! attributes {
    ($vendor:expr;
     $($kind:literal, $constant:ident, $name:literal, $value:ident, $care:ident, $source:literal;)+
    ) => {
        $(
            #[doc = concat!($name, " (", $source, ").")]
            pub const $constant: u8 = $kind;
        )+

        pub(super) const TABLE: &[super::Entry] = &[$(super::Entry {
            vendor: $vendor,
            kind: $kind,
            name: $name,
            value: super::ValueType::$value,
            care: super::Care::$care,
            source: $source,
        }),+];
    };
}
use attributes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for (vendor, table) in TABLES {
            assert!(table.is_sorted_by(|a, b| a.kind < b.kind), "vendor {vendor}");
            for entry in table {
                assert_eq!(entry.vendor, vendor);
                assert!(names.insert(entry.name), "{} is there twice", entry.name);
            }
        }
    }

    #[test]
    fn an_attribute_is_found_by_number_and_by_name() {
        assert_eq!(
            entry(69).map(|e| (e.name, e.value)),
            Some(("Tunnel-Password", ValueType::TaggedSalted))
        );
        assert_eq!(vendor_entry(14_122, 8).map(|e| e.name), Some("WISPr-Bandwidth-Max-Down"));
        assert_eq!(by_name("ms-mppe-recv-key").map(|e| (e.vendor, e.kind)), Some((311, 17)));
        assert_eq!(by_name("3GPP-IMSI").map(|e| e.care), Some(Care::Identity));
        assert_eq!((entry(17), vendor_entry(9, 1)), (None, None));
    }

    #[test]
    fn what_is_hidden_on_the_wire_is_secret_in_logs() {
        for entry in TABLES.iter().flat_map(|(_, table)| *table) {
            if matches!(
                entry.value,
                ValueType::Password | ValueType::TaggedSalted | ValueType::Salted
            ) {
                assert_eq!(entry.care, Care::Secret, "{}", entry.name);
            }
        }
    }
}
