//! What the machine wants done.

use std::fmt;
use std::time::Duration;

use homeward_model::{EapMethod, Imei, Imsi, Mac, Nai, Secret, Ssid};
use serde::{Deserialize, Serialize};

use super::{Connectivity, Stored};
use crate::wire::HandoffKeys;

/// One request to the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// One request to the portal by short message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId(pub(crate) u64);

/// One set of network blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramId(pub(crate) u64);

/// One check of connectivity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifyId(pub(crate) u64);

/// What the portal is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// For whom.
    pub imsi: Imsi,
    /// With which equipment.
    pub imei: Option<Imei>,
    /// For which station.
    pub mac: Mac,
    /// The name had before.
    pub previous: Option<Nai>,
    /// Whether a root key for hand-offs is wanted.
    pub handoff: bool,
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the portal, over cellular and nothing else;
    /// [`handle_portal`](super::Manager::handle_portal) follows.
    Request {
        /// The request's number.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// Send a short message, and note when, for
    /// [`remember_messages`](super::Manager::remember_messages);
    /// [`handle_message_sent`](super::Manager::handle_message_sent) follows.
    Message {
        /// The message's number.
        id: MessageId,
        /// To whom it goes.
        to: String,
        /// What it says, text. It names the subscriber.
        text: Secret,
    },
    /// Give the supplicant these networks in place of those it had of the machine's, all of them
    /// disabled; none: take them away.
    /// [`Programmed`](super::SupplicantEvent::Programmed) follows.
    Program {
        /// The number of this set.
        id: ProgramId,
        /// The networks.
        networks: Vec<NetworkBlock>,
    },
    /// Join a network.
    Join {
        /// Which.
        ssid: Ssid,
        /// The access point that is best now. The supplicant may roam among those of the SSID.
        bssid: Mac,
        /// Access points that are not to be used.
        avoid: Vec<Mac>,
    },
    /// Leave Wi-Fi, and stay away.
    Leave,
    /// Look whether the Internet is reached over Wi-Fi and nothing else;
    /// [`handle_connectivity`](super::Manager::handle_connectivity) follows.
    Verify {
        /// The check's number.
        id: VerifyId,
    },
    /// New connections go over Wi-Fi from now on. Cellular stays up.
    PreferWifi {
        /// Whether what is moved over it is to be counted as dear.
        metered: bool,
    },
    /// New connections go over cellular from now on.
    PreferCellular,
    /// Keep these credentials, sealed, in place of others.
    Store(Box<Stored>),
    /// Keep no credentials any more.
    Forget,
    /// Keep these hand-off keys, sealed, in place of others; they are of that SIM.
    Keys(Imsi, Box<HandoffKeys>),
    /// Tell whoever wants to know.
    Notify(Notice),
    /// Scan like that from now on; `None`: do not.
    Scan(Option<Scanning>),
    /// Measure the signal of whatever the station is associated with so often from now on.
    Measure(Duration),
}

/// How the air is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanning {
    /// How often.
    pub interval: Duration,
    /// Only where networks of the policy were heard last. Else it is to be everywhere now and
    /// then, which takes a station seconds in which it measures nothing.
    pub known: bool,
}

/// One network, as a supplicant is told of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkBlock {
    /// Its SSID.
    pub ssid: Ssid,
    /// The more, the rather: the policy's first has the most, its last has 1.
    pub priority: u8,
    /// The EAP method.
    pub eap: EapMethod,
    /// Who logs on.
    pub identity: Nai,
    /// What is said in the clear.
    pub anonymous: Option<Nai>,
    /// The password.
    pub password: Secret,
    /// The name that the server's certificate must have, or end in.
    pub server_name: String,
    /// The authority that it must be of, in PEM; `None`: one that the machine trusts anyway.
    pub ca: Option<String>,
}

impl fmt::Debug for NetworkBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkBlock").field("ssid", &self.ssid).finish_non_exhaustive()
    }
}

/// Something that happened, for logs, for the user and for whatever is to be run then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// There are new credentials.
    Credentials {
        /// Why they were asked for.
        wanted: Wanted,
    },
    /// The portal did not answer, or refused.
    PortalFailed {
        /// Which.
        failure: Trouble,
        /// How many times in a row.
        failures: u32,
        /// When it is asked again, milliseconds from now.
        retry_ms: Option<u64>,
    },
    /// The portal is asked by short message.
    AskedByMessage {
        /// Why.
        wanted: Wanted,
    },
    /// A short message was not sent, or brought nothing.
    MessageFailed {
        /// How.
        failure: Trouble,
        /// How many were sent since what one brought was last of use.
        in_a_row: u32,
        /// When the next may be sent, milliseconds from now.
        retry_ms: Option<u64>,
    },
    /// Credentials were discarded.
    Forgotten {
        /// Why.
        why: Discarded,
    },
    /// A network is being joined.
    Joining {
        /// Which.
        ssid: Ssid,
    },
    /// It did not come to anything.
    NotJoined {
        /// Which.
        ssid: Ssid,
        /// Why.
        why: Left,
    },
    /// A network is logged on to and leads somewhere; it is used once it is strong enough.
    Ready {
        /// Which.
        ssid: Ssid,
    },
    /// New connections use Wi-Fi.
    Offloaded {
        /// Which.
        ssid: Ssid,
        /// Whether it is dear.
        metered: bool,
    },
    /// New connections use cellular again.
    Returned {
        /// What was left.
        ssid: Ssid,
        /// Why.
        why: Left,
    },
    /// The supplicant does not take the networks.
    NotProgrammed {
        /// Its words.
        error: String,
    },
}

/// Why credentials are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// There are none.
    None,
    /// Those there are were issued to another station, or for other equipment.
    Moved,
    /// The network refused those there are.
    Rejected,
    /// Those there are were good once.
    Spent,
    /// Those there are end soon, or have.
    Renewal,
    /// Those there are came by short message, and there is a bearer.
    ByMessage,
    /// The clock on the wall shows a time that cannot be, so nobody knows.
    Clock,
    /// They are good, and hand-off keys are to come with them.
    Keys,
}

/// Why credentials were discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discarded {
    /// Another SIM is in the modem.
    Sim,
    /// They are over.
    Expired,
}

/// How the portal failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// It was not reached, or did not answer.
    Away,
    /// It has too much to do.
    Busy,
    /// It refused.
    Refused,
    /// What it answered could not be read.
    Invalid,
    /// What it answered did not help.
    Useless,
    /// The message to it was not sent.
    Unsent,
}

/// Why Wi-Fi was left, or not joined in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// The signal was too weak.
    Faded,
    /// The association ended by itself.
    Lost,
    /// The access point did not take the station, or not in time.
    NotAssociated,
    /// The log-on was refused.
    Rejected,
    /// The server is not the one that the policy pins.
    WrongServer,
    /// The log-on did not end in time.
    NoLogOn,
    /// No address came.
    NoAddress,
    /// A check of connectivity found this.
    Broken(Connectivity),
    /// The user switched it off.
    SwitchedOff,
    /// The policy's hours are over.
    Schedule,
    /// It is dear, and the user does not want that.
    Metered,
    /// The policy does not name it any more.
    Policy,
    /// Another network is strong enough, and this one is not.
    Better,
    /// The credentials are gone, or there are others.
    Credentials,
    /// A switch has the radio off.
    RadioOff,
    /// The supplicant is gone.
    NoSupplicant,
}
