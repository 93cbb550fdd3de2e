//! Words for what was decided, for logs and figures.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$each])* $variant,)+
        }

        impl $name {
            /// All of them, for figures that are there from the start.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// A word of lower-case letters and hyphens.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why a request is refused.
    Reason {
        /// No live bearer has the source address.
        NoBearer => "no-bearer",
        /// The bearer is another SIM's.
        OtherSim => "other-sim",
        /// The bearer is of other equipment than the request names.
        OtherEquipment => "other-equipment",
        /// The sender of a short message is neither the SIM's by its bearer nor by its record.
        OtherSender => "other-sender",
        /// The station's address is a group's.
        GroupAddress => "group-address",
        /// No subscriber has that SIM.
        NoSubscriber => "no-subscriber",
        /// The subscriber is suspended.
        SubscriberSuspended => "subscriber-suspended",
        /// Nobody pays.
        NoAccount => "no-account",
        /// The account is suspended.
        AccountSuspended => "account-suspended",
        /// No policy is for the device.
        NoPolicy => "no-policy",
    }
}

words! {
    /// Why credentials are issued, and not those told again that there are.
    Why {
        /// There are none.
        First => "first",
        /// The device had some, and they were withdrawn.
        Withdrawn => "withdrawn",
        /// The station was another SIM's.
        OtherSim => "other-sim",
        /// They were for another station.
        NewStation => "new-station",
        /// They were asked for with other equipment.
        NewEquipment => "new-equipment",
        /// They ran out.
        Expired => "expired",
        /// They were good for one log-on, and there was one.
        Spent => "spent",
        /// Their log-in is suspended.
        Suspended => "suspended",
        /// It is time for new ones.
        Renewal => "renewal",
        /// They allow more than would be given now.
        Terms => "terms",
        /// Their password is not to be had any more.
        Unreadable => "unreadable",
    }
}
