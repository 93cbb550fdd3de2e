//! Users, and requests about them.

use homeward_eap::testing::Counted;
use homeward_model::Entropy;
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, SharedSecret};
use md5::{Digest, Md5};

use crate::core::Core;

/// How a password is kept, which decides what it can be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    Hash,
    SlowHash,
}

#[derive(Debug, Clone)]
pub(crate) enum State {
    Good,
    Suspended,
    Expired,
    /// To that station, as FreeRADIUS's file spells it.
    Bound(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: String,
    pub(crate) kept: Kept,
    pub(crate) state: State,
}

/// The stations, in lower case with dashes.
const STATIONS: [&str; 3] = ["02-00-5e-20-00-0a", "02-00-5e-20-00-0b", "0a-b1-c2-d3-e4-f5"];

/// Makes log-ins, and waits until the core knows them all.
pub(crate) fn users(core: &Core) -> Vec<User> {
    use {Kept::*, State::*};
    let kinds = [
        ("made@example.net", Hash, Good),
        ("made-too@example.net", Hash, Good),
        ("no-realm", Hash, Good),
        ("two@signs@example.net", Hash, Good),
        ("chap@example.net", Whole, Good),
        ("chap-too", Whole, Good),
        ("person@example.net", SlowHash, Good),
        ("suspended@example.net", Hash, Suspended),
        ("suspended-chap@example.net", Whole, Suspended),
        ("expired@example.net", Hash, Expired),
        ("expired-chap@example.net", Whole, Expired),
        ("bound@example.net", Hash, Bound(STATIONS[0])),
        ("bound-chap@example.net", Whole, Bound(STATIONS[1])),
        ("bound-elsewhere", Hash, Bound(STATIONS[2])),
    ];
    let mut users = Vec::new();
    for (name, kept, state) in kinds {
        let mut more: Vec<&str> = Vec::new();
        match kept {
            Whole => more.push("--chap"),
            Hash | SlowHash => {}
        }
        match state {
            Expired => more.extend(["--expires-in", "0s"]),
            Bound(mac) => more.extend(["--mac", mac]),
            Good | Suspended => {}
        }
        let made = match kept {
            SlowHash => core.persons(name, "correct horse battery"),
            Hash | Whole => core.login(name, &more),
        };
        if matches!(state, Suspended) {
            core.admin(&["login", "suspend", name]);
        }
        users.push(User { name, password: made.password, kept, state });
    }
    // The core reads in its own time what `admin` wrote; this comes last.
    let last = core.login("last", &[]);
    core.pap_soon("last", &last.password, "Received Access-Accept");
    users
}

/// A request, and what is known of it.
pub(crate) struct Request {
    pub(crate) octets: Vec<u8>,
    pub(crate) authenticator: [u8; 16],
    /// In words.
    pub(crate) what: String,
    /// Whether nobody may answer it.
    pub(crate) malformed: bool,
}

/// Draws lots.
struct Lots<'e>(&'e mut Counted);

impl Lots<'_> {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(u64::from_be_bytes(self.0.octets()) % u64::try_from(n).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}

/// An attribute that is to be written.
enum Part {
    Octets(u8, Vec<u8>),
    Password(Vec<u8>),
    Vendor(u32, u8, Vec<u8>),
}

/// Makes a request with that identifier; the `last` of a series is sound.
pub(crate) fn make(
    (id, last): (u8, bool),
    users: &[User],
    secret: &SharedSecret,
    entropy: &mut Counted,
) -> Request {
    let mut lots = Lots(entropy);
    let authenticator: [u8; 16] = lots.0.octets();
    // A slow hash is slow.
    let mut user = &users[lots.below(users.len())];
    while user.kept == Kept::SlowHash && !lots.one_in(50) {
        user = &users[lots.below(users.len())];
    }
    let (name, named) = name(user.name, &mut lots);
    let (password, passes) = password(&user.password, users, &mut lots);
    let mut parts = vec![Part::Octets(standard::USER_NAME, name.into_bytes())];
    let proof = if lots.one_in(3) {
        let challenged = lots.below(3);
        let challenge: Vec<u8> = match challenged {
            0 => authenticator.to_vec(),
            1 => lots.0.octets::<16>().to_vec(),
            _ => lots.0.octets::<23>().to_vec(),
        };
        let chap_id = lots.0.octets::<1>()[0];
        let mut md5 = Md5::new();
        md5.update([chap_id]);
        md5.update(&password);
        md5.update(&challenge);
        let value = [&[chap_id][..], &md5.finalize()].concat();
        parts.push(Part::Octets(standard::CHAP_PASSWORD, value));
        if challenged > 0 {
            parts.push(Part::Octets(standard::CHAP_CHALLENGE, challenge));
        }
        "CHAP"
    } else {
        parts.push(Part::Password(password));
        "PAP"
    };
    let station = station(&user.state, &mut lots);
    parts.extend(station.clone().map(|s| Part::Octets(standard::CALLING_STATION_ID, s.into())));
    parts.extend(others(&mut lots));
    lots.shuffle(&mut parts);
    let mut octets = Vec::new();
    let mut packet = Builder::request(&mut octets, secret, Code::AccessRequest, id, authenticator);
    for part in &parts {
        match part {
            Part::Octets(kind, value) => packet.octets(*kind, value).unwrap(),
            Part::Password(password) => packet.user_password(password).unwrap(),
            Part::Vendor(vendor, kind, value) => packet.vendor(*vendor, *kind, value).unwrap(),
        }
    }
    packet.finish();
    let mut what = format!(
        "{proof}, {} {named}, {passes}, from {station:?}, {} attributes",
        user.name,
        parts.len()
    );
    let malformed = lots.one_in(8) && !last;
    if malformed {
        what += ", ";
        what += spoil(&mut octets, &mut lots);
    } else if lots.one_in(10) {
        // RFC 2865 3: what lies beyond the Length is padding.
        octets.extend(vec![lots.0.octets::<1>()[0]; 1 + lots.below(40)]);
        what += ", padded";
    }
    Request { octets, authenticator, what, malformed }
}

/// A user's name, or one that nobody has.
fn name(name: &str, lots: &mut Lots<'_>) -> (String, &'static str) {
    let realm = name.rsplit_once('@');
    match (lots.below(16), realm) {
        (0, _) => (format!("{name}x"), "as nobody"),
        (1, _) => ("nobody@example.net".to_owned(), "as nobody"),
        (2, Some((user, _))) => (user.to_owned(), "without realm"),
        (2, None) => (format!("{name}@example.net"), "with a realm"),
        (3, Some((user, realm))) => (format!("{}@{realm}", user.to_uppercase()), "in capitals"),
        (4, Some((user, realm))) => (format!("{user}@{}", realm.to_uppercase()), "REALM"),
        (5, Some((user, _))) => (format!("{user}@Example.Net"), "Realm"),
        _ => (name.to_owned(), ""),
    }
}

/// The user's password, or one that is not.
fn password(right: &str, users: &[User], lots: &mut Lots<'_>) -> (Vec<u8>, &'static str) {
    let mut octets = right.as_bytes().to_vec();
    let says = match lots.below(18) {
        0 => {
            let at = lots.below(octets.len());
            octets[at] ^= 1;
            "one bit wrong"
        }
        1 => {
            octets.pop();
            "too short"
        }
        2 => {
            octets.push(b'x');
            "too long"
        }
        3 => {
            octets = users[lots.below(users.len())].password.clone().into_bytes();
            "another's, perhaps"
        }
        4 => {
            octets = vec![b'a' + u8::try_from(lots.below(26)).unwrap(); 1 + lots.below(120)];
            "made up"
        }
        _ => "right",
    };
    (octets, says)
}

/// Calling-Station-Id in many spellings.
fn station(state: &State, lots: &mut Lots<'_>) -> Option<String> {
    let dashes = match state {
        State::Bound(bound) if lots.one_in(2) => bound,
        _ => lots.of(&STATIONS),
    };
    let plain = dashes.replace('-', "");
    Some(match lots.below(9) {
        0 => return None,
        1 => dashes.to_uppercase(),
        2 => dashes.replace('-', ":"),
        3 => plain,
        4 => plain.to_uppercase(),
        5 => format!("{}.{}.{}", &plain[..4], &plain[4..8], &plain[8..]),
        6 => lots.of(&["unknown", "02-00-5e-20-00", "192.0.2.1", "+44 20 7946 0000"]).to_owned(),
        _ => dashes.to_owned(),
    })
}

/// Attributes that change nothing.
fn others(lots: &mut Lots<'_>) -> Vec<Part> {
    let mut parts = vec![Part::Octets(standard::NAS_IDENTIFIER, b"oak".to_vec())];
    if lots.one_in(2) {
        parts.push(Part::Octets(standard::CALLED_STATION_ID, b"02-00-5E-10-00-02:Elm".to_vec()));
    }
    if lots.one_in(2) {
        parts.push(Part::Octets(standard::SERVICE_TYPE, vec![0, 0, 0, 2]));
    }
    if lots.one_in(3) {
        parts.push(Part::Octets(standard::NAS_PORT_TYPE, vec![0, 0, 0, 19]));
    }
    if lots.one_in(3) {
        parts.push(Part::Octets(standard::FRAMED_MTU, vec![0, 0, 5, 0x78]));
    }
    for _ in 0..lots.below(4) {
        let state: Vec<u8> = vec![lots.0.octets::<1>()[0]; 1 + lots.below(200)];
        parts.push(Part::Octets(standard::PROXY_STATE, state));
    }
    for _ in 0..lots.below(3) {
        let [vendor, kind] = lots.0.octets::<2>();
        let value = vec![kind; 1 + lots.below(60)];
        parts.push(Part::Vendor(50_000 + u32::from(vendor), kind.max(1), value));
    }
    // Nobody's, and those of an experiment.
    if lots.one_in(4) {
        parts.push(Part::Octets(192 + u8::try_from(lots.below(40)).unwrap(), vec![7; 9]));
    }
    parts
}

/// Makes a request one that RFCs have silently discarded.
fn spoil(octets: &mut Vec<u8>, lots: &mut Lots<'_>) -> &'static str {
    // Where each attribute begins.
    let mut starts = vec![20];
    while let Some(length) = octets.get(starts[starts.len() - 1] + 1) {
        starts.push(starts[starts.len() - 1] + usize::from(*length));
    }
    starts.pop();
    let signature = starts.iter().copied().find(|at| octets[*at] == 80).expect("it is signed");
    match lots.below(9) {
        0 => {
            let at = signature + 2 + lots.below(16);
            octets[at] ^= 1 << lots.below(8);
            "signature wrong"
        }
        1 => {
            octets.drain(signature..signature + 18);
            let length = u16::try_from(octets.len()).unwrap();
            octets[2..4].copy_from_slice(&length.to_be_bytes());
            "not signed"
        }
        2 => {
            octets.truncate(20 + lots.below(octets.len() - 20));
            "cut short"
        }
        3 => {
            octets.truncate(lots.below(20));
            "no header"
        }
        4 => {
            let at = starts[lots.below(starts.len())];
            octets[at + 1] = u8::try_from(lots.below(2)).unwrap();
            "an attribute shorter than its header"
        }
        5 => {
            let at = starts[starts.len() - 1];
            octets[at + 1] += 1 + u8::try_from(lots.below(20)).unwrap();
            "the last attribute longer than the packet"
        }
        6 => {
            let code = lots.of(&[0, 2, 3, 6, 11, 13, 40, 43, 200, 255]);
            octets[0] = code;
            "another code"
        }
        7 => {
            octets[2..4].copy_from_slice(&u16::to_be_bytes(lots.of(&[0, 19, 4097, 0xffff])));
            "a length that cannot be"
        }
        _ => {
            octets[4 + lots.below(16)] ^= 0x40;
            "another authenticator"
        }
    }
}
