//! The text of `show pdp-context ggsn NAME`, read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use homeward_model::{Apn, Imsi, Msisdn};

/// A PDP context, as the GGSN tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PdpContext {
    /// Whose it is.
    pub imsi: Imsi,
    /// Which of the device's contexts it is, 0 to 15.
    pub nsapi: u8,
    /// The number, where the GGSN shows it. osmo-ggsn 1.9 shows none: it takes the first octet of
    /// what it was told for a length.
    pub msisdn: Option<Msisdn>,
    /// Where the GGSN receives what is for this context in GTP-C.
    pub ggsn: Tunnel,
    /// Where the SGSN receives it.
    pub sgsn: Tunnel,
    /// Where the GGSN receives its packets, by GTP-U.
    pub ggsn_data: Tunnel,
    /// The access point in use.
    pub apn: Apn,
    /// The device's IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The device's IPv6 address: its first 64 bits are the prefix that it was given.
    pub ipv6: Option<Ipv6Addr>,
}

/// One end of a GTP tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnel {
    /// Where it ends.
    pub address: IpAddr,
    /// Its tunnel endpoint identifier (TEID) there.
    pub teid: u32,
}

/// A text that tells no PDP contexts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The GGSN refuses the command.
    #[error("it says {0:?}")]
    Refused(String),
    /// A line that does not say what lines of its kind say.
    #[error("this line of a PDP context makes no sense: {0:?}")]
    Line(String),
    /// A context of which something is not told.
    #[error("a PDP context without {0}")]
    Missing(&'static str),
}

/// Reads what osmo-ggsn answers to `show pdp-context ggsn NAME`. Lines of a kind that is not
/// known are passed over, the command's echo and the prompt among them.
///
/// # Errors
/// If it refuses the command, or a context is not told whole.
pub fn contexts(said: &str) -> Result<Vec<PdpContext>, ContextError> {
    let mut all = Vec::new();
    let mut open: Option<Draft> = None;
    for line in said.lines().map(str::trim_end) {
        if let Some(complaint) = line.strip_prefix("% ") {
            return Err(ContextError::Refused(complaint.to_owned()));
        }
        if line.starts_with("IMSI: ") {
            let draft = Draft::begin(line).ok_or_else(|| ContextError::Line(line.to_owned()))?;
            if let Some(done) = open.replace(draft) {
                all.push(done.finish()?);
            }
        } else if let (Some(draft), Some(fact)) = (&mut open, line.strip_prefix(' ')) {
            draft.take(fact).ok_or_else(|| ContextError::Line(line.to_owned()))?;
        }
    }
    if let Some(done) = open {
        all.push(done.finish()?);
    }
    Ok(all)
}

/// A context of which not all lines are read.
struct Draft {
    imsi: Imsi,
    nsapi: u8,
    msisdn: Option<Msisdn>,
    control: Option<[Tunnel; 2]>,
    data: Option<[Tunnel; 2]>,
    apn: Option<Apn>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

impl Draft {
    /// `IMSI: 999700123456789, NSAPI: 0, MSISDN: (NONE)`
    fn begin(line: &str) -> Option<Self> {
        let mut words = line.split(", ");
        let imsi = words.next()?.strip_prefix("IMSI: ")?.parse().ok()?;
        let nsapi = words.next()?.strip_prefix("NSAPI: ")?.parse().ok().filter(|n| *n < 16)?;
        let msisdn = match words.next()?.strip_prefix("MSISDN: ")? {
            "(NONE)" => None,
            number => Some(number.trim_start_matches('+').parse().ok()?),
        };
        let (control, data, apn, ipv4, ipv6) = (None, None, None, None, None);
        Some(Self { imsi, nsapi, msisdn, control, data, apn, ipv4, ipv6 })
    }

    /// Takes a line without its indent; `None` if it makes no sense.
    fn take(&mut self, fact: &str) -> Option<()> {
        match fact.split_once(": ") {
            Some(("Control", ends)) => self.control = Some(tunnels(ends)?),
            Some(("Data", ends)) => self.data = Some(tunnels(ends)?),
            Some(("APN in use", name)) => self.apn = Some(name.parse().ok()?),
            Some(("End-User Address (IPv4)", address)) => self.ipv4 = Some(address.parse().ok()?),
            Some(("End-User Address (IPv6)", address)) => self.ipv6 = Some(address.parse().ok()?),
            _ => {}
        }
        Some(())
    }

    fn finish(self) -> Result<PdpContext, ContextError> {
        let [ggsn, sgsn] = self.control.ok_or(ContextError::Missing("its control tunnel"))?;
        let [ggsn_data, _] = self.data.ok_or(ContextError::Missing("its data tunnel"))?;
        let apn = self.apn.ok_or(ContextError::Missing("its access point"))?;
        if self.ipv4.is_none() && self.ipv6.is_none() {
            return Err(ContextError::Missing("an address"));
        }
        let Self { imsi, nsapi, msisdn, ipv4, ipv6, .. } = self;
        Ok(PdpContext { imsi, nsapi, msisdn, ggsn, sgsn, ggsn_data, apn, ipv4, ipv6 })
    }
}

/// `10.90.0.1:00000001 <-> 10.90.0.2:00000001`: ours, then theirs.
fn tunnels(ends: &str) -> Option<[Tunnel; 2]> {
    let (ours, theirs) = ends.split_once(" <-> ")?;
    Some([tunnel(ours)?, tunnel(theirs)?])
}

/// An address, a colon, the TEID in eight hexadecimal digits.
fn tunnel(end: &str) -> Option<Tunnel> {
    let (address, teid) = end.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(Tunnel { address, teid: u32::from_str_radix(teid, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What osmo-ggsn 1.9.0 says of two devices.
    const TWO: &str = include_str!("two.txt");

    #[test]
    fn what_osmo_ggsn_says_is_read() {
        let [first, second] = contexts(TWO).unwrap().try_into().unwrap();
        assert_eq!(first.imsi.as_str(), "999700123456789");
        assert_eq!((first.nsapi, first.msisdn), (0, None));
        assert_eq!(first.apn.as_str(), "internet");
        assert_eq!(first.ipv4, Some(Ipv4Addr::new(10, 60, 0, 2)));
        assert_eq!(first.ipv6, None);
        let end = |last, teid| Tunnel { address: Ipv4Addr::new(10, 90, 0, last).into(), teid };
        assert_eq!((first.ggsn, first.sgsn), (end(1, 1), end(2, 1)));
        assert_eq!((second.ggsn, second.sgsn), (end(1, 2), end(3, 1)));
        assert_eq!(second.ipv4, Some(Ipv4Addr::new(10, 60, 0, 3)));
    }

    #[test]
    fn no_contexts_are_none_and_a_refusal_is_an_error() {
        let none = "show pdp-context ggsn ggsn0\r\nOsmoGGSN> ";
        assert_eq!(contexts(none), Ok(Vec::new()));
        let refused = "show pdp-context ggsn nosuch\r\n% No such GGSN 'nosuch'\r\nOsmoGGSN> ";
        let why = "No such GGSN 'nosuch'".to_owned();
        assert_eq!(contexts(refused), Err(ContextError::Refused(why)));
    }

    #[test]
    fn a_context_is_read_whole_or_not_at_all() {
        for (line, what) in [
            (" Control: 10.90.0.1:00000001 <-> 10.90.0.2:00000001\r\n", "its control tunnel"),
            (" Data: 10.90.0.1:00000001 <-> 10.90.0.2:00000001\r\n", "its data tunnel"),
            (" APN in use: internet\r\n", "its access point"),
            (" End-User Address (IPv4): 10.60.0.2\r\n", "an address"),
        ] {
            assert!(TWO.contains(line), "{line:?}");
            let less = TWO.replacen(line, "", 1);
            assert_eq!(contexts(&less), Err(ContextError::Missing(what)));
        }
        for (right, wrong) in [
            ("IMSI: 9997", "IMSI: x997"),
            ("NSAPI: 0", "NSAPI: 16"),
            ("10.60.0.2", "10.60.0"),
            ("<->", "->"),
            (":00000001", ":0000000g"),
            ("(NONE)", "none"),
        ] {
            let bad = TWO.replacen(right, wrong, 1);
            assert!(matches!(contexts(&bad), Err(ContextError::Line(_))), "{wrong}");
        }
    }

    #[test]
    fn a_number_and_an_ipv6_address_are_read_where_they_are_told() {
        let more = TWO.replace("(NONE)", "+447700900123").replace(
            " End-User Address (IPv4): 10.60.0.2\r\n",
            " End-User Address (IPv4): 10.60.0.2\r\n End-User Address (IPv6): 2001:db8::1\r\n",
        );
        let first = contexts(&more).unwrap().remove(0);
        assert_eq!(first.msisdn, Some("447700900123".parse().unwrap()));
        assert_eq!(first.ipv6, Some("2001:db8::1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_makes_it_panic(said in "(IMSI: |NSAPI: |[0-9., :\n-]|\\PC)*") {
            let _ = contexts(&said);
        }

        #[test]
        fn an_answer_cut_short_is_never_read_as_something_else(end in 0..TWO.len()) {
            let Some(part) = TWO.get(..end) else { return Ok(()) };
            let whole = contexts(TWO).unwrap();
            if let Ok(read) = contexts(part) {
                // Up to the last address, of which the end may be missing.
                for (one, other) in read.iter().zip(&whole) {
                    prop_assert_eq!(&one.imsi, &other.imsi);
                    prop_assert_eq!(&one.apn, &other.apn);
                }
            }
        }
    }
}
