//! What a session has used.

/// What a session, a device or an account has used. All of it is as the NAS sees it: input comes
/// from the device, output goes to it (RFC 2866 5.3 and 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Figures {
    /// Octets from the device.
    pub input: u64,
    /// Octets to the device.
    pub output: u64,
    /// Packets from the device.
    pub input_packets: u64,
    /// Packets to the device.
    pub output_packets: u64,
    /// Seconds.
    pub seconds: u64,
}

impl Figures {
    /// Nothing.
    pub const ZERO: Self =
        Self { input: 0, output: 0, input_packets: 0, output_packets: 0, seconds: 0 };

    /// Octets in both directions together, as a quota counts them.
    pub const fn octets(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Each the greater of the two.
    pub fn join(self, other: Self) -> Self {
        self.each(other, u64::max)
    }

    /// Each added; saturates.
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// How far each has grown since `earlier`; never below zero.
    pub fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            input: with(self.input, other.input),
            output: with(self.output, other.output),
            input_packets: with(self.input_packets, other.input_packets),
            output_packets: with(self.output_packets, other.output_packets),
            seconds: with(self.seconds, other.seconds),
        }
    }
}
