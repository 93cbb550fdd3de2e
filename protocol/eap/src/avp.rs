//! What EAP-TTLS carries within its tunnel: attribute-value pairs (RFC 5281 10).

use zeroize::Zeroizing;

/// Vendor number of Microsoft (RFC 2548).
pub const MICROSOFT: u32 = 311;

/// AVP codes: RADIUS's (RFC 5281 10.1), and Microsoft's with [`MICROSOFT`].
pub mod code {
    /// User-Name.
    pub const USER_NAME: u32 = 1;
    /// User-Password.
    pub const USER_PASSWORD: u32 = 2;
    /// CHAP-Password.
    pub const CHAP_PASSWORD: u32 = 3;
    /// CHAP-Challenge.
    pub const CHAP_CHALLENGE: u32 = 60;
    /// EAP-Message.
    pub const EAP_MESSAGE: u32 = 79;
    /// MS-CHAP-Response.
    pub const MS_CHAP_RESPONSE: u32 = 1;
    /// MS-CHAP-Challenge.
    pub const MS_CHAP_CHALLENGE: u32 = 11;
    /// MS-CHAP2-Response.
    pub const MS_CHAP2_RESPONSE: u32 = 25;
    /// MS-CHAP2-Success.
    pub const MS_CHAP2_SUCCESS: u32 = 26;
}

/// The V flag: a vendor number follows.
const VENDOR: u8 = 0x80;
/// The M flag: whoever does not know the AVP has to refuse.
const MANDATORY: u8 = 0x40;

/// One AVP, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avp<'a> {
    /// Its code.
    pub code: u32,
    /// The vendor whose code it is; 0 for RADIUS's own.
    pub vendor: u32,
    /// Whether whoever does not know it has to refuse.
    pub mandatory: bool,
    /// Its value.
    pub value: &'a [u8],
}

/// AVPs whose lengths do not add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the AVPs in the tunnel are cut short or of a wrong length")]
pub struct AvpError;

/// The AVPs of a message, in order; ends after the first error.
#[derive(Debug, Clone)]
pub struct Avps<'a>(&'a [u8]);

impl<'a> Avps<'a> {
    /// Reads `octets`, decrypted.
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    fn read(&mut self) -> Result<Avp<'a>, AvpError> {
        let (header, after) = self.0.split_first_chunk::<8>().ok_or(AvpError)?;
        let &[c0, c1, c2, c3, flags, l0, l1, l2] = header;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let length = usize::try_from(length).map_err(|_| AvpError)?;
        let (vendor, overhead) = match after.first_chunk::<4>() {
            _ if flags & VENDOR == 0 => (0, 8),
            Some(vendor) => (u32::from_be_bytes(*vendor), 12),
            None => return Err(AvpError),
        };
        let value = self.0.get(overhead..length).ok_or(AvpError)?;
        // Padded to four octets; the last one's padding is left out by some peers.
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let code = u32::from_be_bytes([c0, c1, c2, c3]);
        Ok(Avp { code, vendor, mandatory: flags & MANDATORY != 0, value })
    }
}

impl<'a> Iterator for Avps<'a> {
    type Item = Result<Avp<'a>, AvpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

/// Appends an AVP, mandatory, padded. `value` is far below the 16 MiB that a length can say.
pub fn write(out: &mut Vec<u8>, code: u32, vendor: u32, value: &[u8]) {
    let overhead = if vendor == 0 { 8 } else { 12 };
    let length = u32::try_from(overhead + value.len()).unwrap_or(u32::MAX);
    let [_, l0, l1, l2] = length.to_be_bytes();
    out.extend(code.to_be_bytes());
    out.extend([MANDATORY | if vendor == 0 { 0 } else { VENDOR }, l0, l1, l2]);
    if vendor != 0 {
        out.extend(vendor.to_be_bytes());
    }
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// What a TTLS peer says in one message: the AVPs that this server knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// User-Name.
    pub user: Option<&'a [u8]>,
    /// User-Password, its padding of NULs taken off.
    pub password: Option<&'a [u8]>,
    /// MS-CHAP-Challenge.
    pub challenge: Option<&'a [u8]>,
    /// MS-CHAP2-Response.
    pub response: Option<&'a [u8]>,
    /// EAP-Message, all of them joined.
    pub eap: Zeroizing<Vec<u8>>,
    /// A mandatory AVP that this server does not know.
    pub unknown: Option<(u32, u32)>,
}

impl<'a> Said<'a> {
    /// Sorts the AVPs of a message. Of those that come twice the first counts.
    ///
    /// # Errors
    /// If lengths do not add up.
    pub fn decode(octets: &'a [u8]) -> Result<Self, AvpError> {
        let mut said = Self::default();
        for avp in Avps::new(octets) {
            let Avp { code, vendor, mandatory, value } = avp?;
            match (vendor, code) {
                (0, code::USER_NAME) => said.user = said.user.or(Some(value)),
                (0, code::USER_PASSWORD) => {
                    let end = value.iter().rposition(|octet| *octet != 0).map_or(0, |at| at + 1);
                    said.password = said.password.or(value.get(..end));
                }
                (0, code::EAP_MESSAGE) => said.eap.extend(value),
                // Methods that are not served: known, so that the refusal says so.
                (0, code::CHAP_PASSWORD | code::CHAP_CHALLENGE)
                | (MICROSOFT, code::MS_CHAP_RESPONSE) => {}
                (MICROSOFT, code::MS_CHAP_CHALLENGE) => {
                    said.challenge = said.challenge.or(Some(value));
                }
                (MICROSOFT, code::MS_CHAP2_RESPONSE) => {
                    said.response = said.response.or(Some(value));
                }
                _ if mandatory => said.unknown = said.unknown.or(Some((vendor, code))),
                _ => {}
            }
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            avps in proptest::collection::vec(
                (any::<u32>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)),
                0..8,
            ),
        ) {
            let mut octets = Vec::new();
            for (code, vendor, value) in &avps {
                write(&mut octets, *code, *vendor, value);
            }
            prop_assert_eq!(octets.len() % 4, 0);
            let read: Vec<_> = Avps::new(&octets)
                .map(|avp| avp.map(|avp| (avp.code, avp.vendor, avp.value.to_vec())).unwrap())
                .collect();
            prop_assert_eq!(read, avps);
        }
    }

    #[test]
    fn a_length_that_does_not_fit_ends_the_message() {
        for octets in [
            &[0, 0, 0, 1, 0x40, 0, 0][..],
            &[0, 0, 0, 1, 0x40, 0, 0, 7],
            &[0, 0, 0, 1, 0x40, 0, 0, 9],
            &[0, 0, 0, 1, 0xc0, 0, 0, 8],
        ] {
            assert_eq!(Avps::new(octets).collect::<Vec<_>>(), [Err(AvpError)], "{octets:?}");
        }
    }

    #[test]
    fn a_password_loses_its_padding_and_an_unknown_mandatory_avp_is_told() {
        let mut octets = Vec::new();
        write(&mut octets, code::USER_NAME, 0, b"alice");
        write(&mut octets, code::USER_PASSWORD, 0, b"secret\0\0\0\0\0\0\0\0\0\0");
        write(&mut octets, 99, 9, b"?");
        let said = Said::decode(&octets).unwrap();
        assert_eq!((said.user, said.password), (Some(&b"alice"[..]), Some(&b"secret"[..])));
        assert_eq!(said.unknown, Some((9, 99)));
    }

    #[test]
    fn the_padding_of_the_last_may_be_missing() {
        let mut octets = Vec::new();
        write(&mut octets, code::USER_NAME, 0, b"alice");
        octets.truncate(13);
        assert_eq!(Said::decode(&octets).unwrap().user, Some(&b"alice"[..]));
    }
}
