//! Messages: trees of sections, lists and values.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::error::{Malformed, TooLong};

/// Sections within sections, at the most. The format knows no limit; charon's own messages have five.
pub const MAX_DEPTH: usize = 16;

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// A value: octets, which are text in all but keys and certificates.
pub type Value = Zeroizing<Vec<u8>>;

/// What a name stands for.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// A value.
    Value(Value),
    /// Several.
    List(Vec<Value>),
    /// More names.
    Section(Section),
}

/// Names and what they stand for, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Section(Vec<(String, Entry)>);

/// The names, and no value.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "[{} octets]", value.len()),
            Self::List(values) => write!(f, "[{} values]", values.len()),
            Self::Section(section) => section.fmt(f),
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, entry)| (name, entry))).finish()
    }
}

impl Section {
    /// With a value more.
    #[must_use]
    pub fn value(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(name, Entry::Value(Zeroizing::new(value.as_ref().to_vec())))
    }

    /// With a list more.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(|value| Zeroizing::new(value.as_ref().to_vec()));
        self.with(name, Entry::List(values.collect()))
    }

    /// With a section more.
    #[must_use]
    pub fn section(self, name: &str, section: Self) -> Self {
        self.with(name, Entry::Section(section))
    }

    /// With an entry more.
    #[must_use]
    pub fn with(mut self, name: &str, entry: Entry) -> Self {
        self.0.push((name.to_owned(), entry));
        self
    }

    /// What is called that: the first, where there are several.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, entry)| entry)
    }

    /// The text that is called that.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Entry::Value(value) => std::str::from_utf8(value).ok(),
            Entry::List(_) | Entry::Section(_) => None,
        }
    }

    /// The texts of the list that is called that, but for values that are none; nothing if there is no
    /// such list.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let list: &[Value] = match self.get(name) {
            Some(Entry::List(values)) => values,
            _ => &[],
        };
        list.iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// All, in their order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Writes it behind what there is.
    ///
    /// # Errors
    /// What does not fit its field.
    pub(crate) fn write(&self, out: &mut Value) -> Result<(), TooLong> {
        self.write_at(0, out)
    }

    fn write_at(&self, depth: usize, out: &mut Value) -> Result<(), TooLong> {
        for (name, entry) in &self.0 {
            match entry {
                Entry::Value(value) => {
                    out.push(KEY_VALUE);
                    write_name(name, out)?;
                    write_value(name, value, out)?;
                }
                Entry::List(values) => {
                    out.push(LIST_START);
                    write_name(name, out)?;
                    for value in values {
                        out.push(LIST_ITEM);
                        write_value(name, value, out)?;
                    }
                    out.push(LIST_END);
                }
                Entry::Section(_) if depth == MAX_DEPTH => {
                    return Err(TooLong::Depth { most: MAX_DEPTH });
                }
                Entry::Section(section) => {
                    out.push(SECTION_START);
                    write_name(name, out)?;
                    section.write_at(depth + 1, out)?;
                    out.push(SECTION_END);
                }
            }
        }
        Ok(())
    }

    /// Reads a message, which is all of `octets`.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, Malformed> {
        let mut left = Reader(octets);
        // Those that are open, the innermost last, each with its name.
        let mut open: Vec<(String, Self)> = Vec::new();
        let mut at = Self::default();
        while let Some(kind) = left.kind() {
            match kind {
                KEY_VALUE => {
                    let name = left.name()?;
                    at.0.push((name, Entry::Value(left.value()?)));
                }
                LIST_START => {
                    let name = left.name()?;
                    at.0.push((name, Entry::List(left.items()?)));
                }
                SECTION_START if open.len() == MAX_DEPTH => {
                    return Err(Malformed("sections are nested too deep"));
                }
                SECTION_START => {
                    let name = left.name()?;
                    open.push((name, std::mem::take(&mut at)));
                }
                SECTION_END => {
                    let (name, outer) =
                        open.pop().ok_or(Malformed("a section that is not open"))?;
                    let inner = std::mem::replace(&mut at, outer);
                    at.0.push((name, Entry::Section(inner)));
                }
                _ => return Err(Malformed("the kind of an element")),
            }
        }
        if open.is_empty() { Ok(at) } else { Err(Malformed("a section that does not end")) }
    }
}

pub(crate) fn write_name(name: &str, out: &mut Value) -> Result<(), TooLong> {
    match u8::try_from(name.len()) {
        Ok(length) if length > 0 => {
            out.push(length);
            extend(out, name.as_bytes());
            Ok(())
        }
        _ => Err(TooLong::Name { name: name.to_owned() }),
    }
}

fn write_value(name: &str, value: &Value, out: &mut Value) -> Result<(), TooLong> {
    let octets = value.len();
    let length =
        u16::try_from(octets).map_err(|_| TooLong::Value { name: name.to_owned(), octets })?;
    extend(out, &length.to_be_bytes());
    extend(out, value);
    Ok(())
}

/// Appends; what has to move for that is wiped where it was.
fn extend(out: &mut Value, more: &[u8]) {
    if out.capacity() - out.len() < more.len() {
        let room = (out.len() + more.len()).next_power_of_two().max(256);
        let mut wider = Vec::with_capacity(room);
        wider.extend_from_slice(out);
        out.zeroize();
        **out = wider;
    }
    out.extend_from_slice(more);
}

/// Takes what it reads off the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    /// The kind of what is next; `None` at the end.
    pub(crate) fn kind(&mut self) -> Option<u8> {
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*kind)
    }

    fn octets(&mut self, count: usize, what: &'static str) -> Result<&[u8], Malformed> {
        let (read, rest) = self.0.split_at_checked(count).ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(read)
    }

    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        const WHAT: &str = "a name";
        let length = self.kind().filter(|length| *length > 0).ok_or(Malformed(WHAT))?;
        let name = std::str::from_utf8(self.octets(length.into(), WHAT)?);
        Ok(name.map_err(|_| Malformed(WHAT))?.to_owned())
    }

    fn value(&mut self) -> Result<Value, Malformed> {
        const WHAT: &str = "a value";
        let length = self.octets(2, WHAT)?.first_chunk().copied().unwrap_or_default();
        let value = self.octets(u16::from_be_bytes(length).into(), WHAT)?;
        Ok(Zeroizing::new(value.to_vec()))
    }

    fn items(&mut self) -> Result<Vec<Value>, Malformed> {
        let mut values = Vec::new();
        loop {
            match self.kind() {
                Some(LIST_ITEM) => values.push(self.value()?),
                Some(LIST_END) => return Ok(values),
                _ => return Err(Malformed("a list")),
            }
        }
    }
}
