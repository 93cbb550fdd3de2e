//! What the kernel refused, and what to do about it.

use std::fmt;
use std::io;

/// The result of asking the kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong between this crate and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused. The source has the system's own words for it.
    #[error("cannot {operation}{culprit}{hint}")]
    Refused {
        /// What was asked: a verb and its object, such as `set up`.
        operation: &'static str,
        /// On what: an interface or a phy.
        culprit: Culprit,
        /// What to do about it.
        hint: Hint,
        /// What the kernel answered.
        source: io::Error,
    },
    /// There is no interface of that name in this network namespace.
    #[error("there is no interface {0} here: look at `ip link`, in the same network namespace")]
    NoInterface(String),
    /// There is no phy of that name in this network namespace.
    #[error("there is no radio {0} here: look at `iw phy`, in the same network namespace")]
    NoPhy(String),
    /// The interface is none of 802.11.
    #[error("{0} is no Wi-Fi interface: look at `iw dev`")]
    NotWireless(String),
    /// The name wanted for a monitor interface is taken by something else.
    #[error("{name} exists already, as {holder}: choose another name or delete it")]
    NameTaken {
        /// The name.
        name: String,
        /// What has it.
        holder: String,
    },
    /// What was to be deleted or changed is somebody else's.
    #[error(
        "{0} is not Homeward's: it does not carry the alias `homeward`; delete it yourself if it is a leftover"
    )]
    NotOurs(String),
    /// What was to be a bridge is none.
    #[error("{0} is no bridge: look at `ip -d link show {0}`")]
    NotBridge(String),
    /// The interface is a port of another bridge.
    #[error("{port} is a port of {holder} already: take it out there first")]
    Enslaved {
        /// The interface.
        port: String,
        /// The bridge (or bond) that has it.
        holder: String,
    },
    /// A setting under /proc/sys could not be written.
    #[error(
        "cannot write {value} to {path}: mount /proc/sys writable for this process and run it as root"
    )]
    Sysctl {
        /// The setting.
        path: String,
        /// The value wanted.
        value: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The program that keeps the firewall's rules does not run.
    #[error("cannot run {program}: install nftables (Debian and OpenWrt: package `nftables`)")]
    NoNft {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// nft refused rules.
    #[error("nft refuses the rules of family {family} ({said}): {advice}")]
    Firewall {
        /// The family of the table: inet, arp or bridge.
        family: &'static str,
        /// What nft said first.
        said: String,
        /// What to do about it.
        advice: &'static str,
        /// The kernel lacks something that the rules need.
        unsupported: bool,
    },
    /// A breakout segment that leads nowhere.
    #[error(
        "the breakout segment {0} has no uplink: name the interface that leads to the Internet"
    )]
    NoUplink(String),
    /// Somebody else shapes the interface's traffic.
    #[error(
        "{interface} has a {place} queueing discipline {kind} that is not Homeward's: remove it (`tc qdisc del dev {interface} {place}`) or leave sharing to it"
    )]
    QdiscTaken {
        /// The interface.
        interface: String,
        /// What is there.
        kind: String,
        /// Where: `root` or `ingress`.
        place: &'static str,
    },
    /// Shares of a link that do not add up.
    #[error(
        "a link of {link} bit/s cannot give roamers {guaranteed} for sure and {cap} at most: the first must be at least 8, not above the second and below the link's, the second not above the link's"
    )]
    Shares {
        /// What the link carries, in bit/s.
        link: u64,
        /// What roamers get for sure, in bit/s.
        guaranteed: u64,
        /// What roamers get at most, in bit/s.
        cap: u64,
    },
    /// Nothing by which to tell roamers' packets.
    #[error(
        "DSCP {0} does not tell roamers' packets: use 1 to 63, such as 1 (lower effort), or give the tunnels' ports"
    )]
    Dscp(u8),
    /// A name that the kernel would not take.
    #[error("{0:?} is no interface name: 1 to 15 characters, no space, slash or colon")]
    Name(String),
    /// The kernel has no nl80211.
    #[error("the kernel knows no nl80211: load the radio's driver (or cfg80211)")]
    No80211(#[source] io::Error),
}

impl Error {
    /// The kernel's error number, if the kernel refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::No80211(source) => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether something is missing or in the way that can be done without.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::QdiscTaken { .. } => true,
            Self::Refused { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP))
            }
            _ => false,
        }
    }

    pub(crate) fn refused(
        operation: &'static str,
        on: impl Into<String>,
        refusal: impl Into<Refusal>,
    ) -> Self {
        let Refusal { source, detail } = refusal.into();
        let hint = Hint { advice: advice(&source), detail };
        Self::Refused { operation, culprit: Culprit(on.into()), hint, source }
    }

    /// The same with another advice, for an errno that means something particular here.
    pub(crate) fn advise(mut self, errno: i32, better: &'static str) -> Self {
        if let Self::Refused { hint, source, .. } = &mut self
            && source.raw_os_error() == Some(errno)
        {
            hint.advice = Some(better);
        }
        self
    }
}

/// On what an operation was tried. Empty where it was on the machine as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit(pub String);

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " {}", self.0) }
    }
}

/// What to do about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    advice: Option<&'static str>,
    detail: Option<String>,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(detail) = &self.detail {
            write!(f, " (the kernel says: {detail})")?;
        }
        self.advice.map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

/// A refusal as it comes from the kernel: an errno, and at times a sentence.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) source: io::Error,
    pub(crate) detail: Option<String>,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { source, detail: None }
    }
}

fn advice(source: &io::Error) -> Option<&'static str> {
    Some(match source.raw_os_error()? {
        libc::EPERM | libc::EACCES => "run as root or grant CAP_NET_ADMIN and CAP_NET_RAW",
        libc::EBUSY => "it is in use: stop what holds it, or choose another",
        libc::ENODEV | libc::ENXIO => "it is gone, or in another network namespace",
        libc::EOPNOTSUPP => "the driver does not support it",
        libc::ENETDOWN => "the interface is down: set it up again",
        libc::ENOBUFS | libc::ENOMEM => "the kernel is out of memory for it: ask for less",
        libc::ERFKILL => "the radio is switched off: see `rfkill list`",
        _ => return None,
    })
}
