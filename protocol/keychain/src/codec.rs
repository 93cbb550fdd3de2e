//! The encoding: a version, and then each field in its place. Every value has one encoding and
//! every encoding one value, so that what is signed or hashed is what was said.
//!
//! Numbers are big-endian. A text is its length in one octet and its UTF-8. What may be missing is
//! preceded by 1, or is a 0. A list is its length in two octets and its members.

use homeward_model::{Nai, Name, UnixTime};

use crate::message::Malformed;

/// The version of all messages and derivations.
pub(crate) const VERSION: u8 = 1;

/// Writes fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// A message of that kind begins.
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![VERSION, kind])
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.0.extend_from_slice(octets);
        self
    }

    pub(crate) fn u8(&mut self, number: u8) -> &mut Self {
        self.octets(&[number])
    }

    pub(crate) fn u16(&mut self, number: u16) -> &mut Self {
        self.octets(&number.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.octets(&number.to_be_bytes())
    }

    pub(crate) fn time(&mut self, at: UnixTime) -> &mut Self {
        self.octets(&at.0.to_be_bytes())
    }

    /// At most 255 octets, as all texts here are by their types.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.u8(u8::try_from(text.len()).unwrap_or(u8::MAX)).octets(text.as_bytes())
    }

    pub(crate) fn bool(&mut self, is: bool) -> &mut Self {
        self.u8(is.into())
    }

    /// At most 65,535 things, as all lists here are by their limits.
    pub(crate) fn list<T>(&mut self, of: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u16(u16::try_from(of.len()).unwrap_or(u16::MAX));
        for one in of {
            write(self, one);
        }
        self
    }

    pub(crate) fn maybe<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T),
    ) -> &mut Self {
        match value {
            None => {
                self.u8(0);
            }
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
        self
    }
}

/// Reads fields; each takes what it reads off the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// A message of that kind is read.
    pub(crate) fn new(octets: &'a [u8], kind: u8) -> Result<Self, Malformed> {
        let mut reader = Self(octets);
        match reader.array::<2>("version")? {
            [VERSION, read] if read == kind => Ok(reader),
            [VERSION, _] => Err(Malformed("kind")),
            _ => Err(Malformed("version")),
        }
    }

    pub(crate) fn octets(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let (read, rest) = self.0.split_at_checked(count).ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(read)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        self.octets(N, what)?.try_into().map_err(|_| Malformed(what))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let [number] = self.array(what)?;
        Ok(number)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn time(&mut self, what: &'static str) -> Result<UnixTime, Malformed> {
        Ok(UnixTime(i64::from_be_bytes(self.array(what)?)))
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let length = self.u8(what)?;
        std::str::from_utf8(self.octets(length.into(), what)?).map_err(|_| Malformed(what))
    }

    pub(crate) fn name(&mut self, what: &'static str) -> Result<Name, Malformed> {
        self.text(what)?.parse().map_err(|_| Malformed(what))
    }

    pub(crate) fn nai(&mut self, what: &'static str) -> Result<Nai, Malformed> {
        let text = self.text(what)?;
        let nai: Nai = text.parse().map_err(|_| Malformed(what))?;
        if nai.as_str() == text { Ok(nai) } else { Err(Malformed("the case of a realm")) }
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed(what)),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        most: u16,
        what: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        match self.u16(what)? {
            count if count <= most => (0..count).map(|_| read(self)).collect(),
            _ => Err(Malformed(what)),
        }
    }

    pub(crate) fn maybe<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool(what)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Nothing is left over.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("what follows the last field")) }
    }
}
