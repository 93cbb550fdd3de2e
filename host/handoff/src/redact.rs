//! What carries keys prints without them.

use std::fmt;

use crate::pb;

impl fmt::Debug for pb::Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets([{} octets])", self.octets.len())
    }
}

impl fmt::Debug for pb::Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enrolment([redacted])")
    }
}

impl fmt::Debug for pb::Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hop([redacted])")
    }
}
