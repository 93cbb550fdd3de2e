//! What JSON and XML have in common: fields with names, and lists.

use zeroize::Zeroizing;

use super::Invalid;

/// A part of a message.
pub(crate) enum Value {
    Text(Zeroizing<String>),
    Number(i64),
    Bool(bool),
    Null,
    /// A number that no field has.
    Other,
    List(Vec<Self>),
    Record(Vec<(String, Self)>),
}

/// How a tree was spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// JSON: numbers, truth values and lists are told apart.
    Typed,
    /// XML: all of that is text, and a list is an element with elements of one name.
    Text,
}

/// How fields that nobody knows are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refused,
    Ignored,
}

/// The fields of a record, to be taken out one after the other.
pub(crate) struct Fields {
    at: String,
    fields: Vec<(String, Value)>,
    how: (Spelling, Unknown),
}

impl Fields {
    /// The fields of `value`; `at` names it in errors, and is empty for the whole message.
    pub(crate) fn of(value: Value, at: &str, how: (Spelling, Unknown)) -> Result<Self, Invalid> {
        let fields = match value {
            Value::Record(fields) => fields,
            // An element without anything in it looks like an empty text.
            Value::Text(text) if how.0 == Spelling::Text && text.is_empty() => Vec::new(),
            _ => {
                return Err(Invalid::new(
                    if at.is_empty() { "the message" } else { at },
                    "give fields with names",
                ));
            }
        };
        Ok(Self { at: at.to_owned(), fields, how })
    }

    /// A field's whole name.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    pub(crate) fn wrong<T>(&self, name: &str, what: impl Into<String>) -> Result<T, Invalid> {
        Err(Invalid::new(self.path(name), what))
    }

    pub(crate) fn missing(&self, name: &str) -> Invalid {
        Invalid::new(self.path(name), "is missing: give it")
    }

    /// A field's value. JSON's `null` is as good as nothing.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<Value>, Invalid> {
        let Some(at) = self.fields.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.fields.swap_remove(at);
        if self.fields.iter().any(|(given, _)| given == name) {
            return self.wrong(name, "is there twice: give it once");
        }
        Ok(Some(value).filter(|value| !matches!(value, Value::Null)))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Zeroizing<String>>, Invalid> {
        match self.take(name)? {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => self.wrong(name, "give text"),
        }
    }

    /// A field that `read` makes something of; `form` says what it has to be.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Invalid> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => self.wrong(name, format!("give {form}")),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<i64>, Invalid> {
        let number = match (self.take(name)?, self.how.0) {
            (None, _) => return Ok(None),
            (Some(Value::Number(number)), _) => Some(number),
            (Some(Value::Text(text)), Spelling::Text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => self.wrong(name, "give a whole number"),
        }
    }

    pub(crate) fn truth(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
        let truth = match (self.take(name)?, self.how.0) {
            (None, _) => return Ok(None),
            (Some(Value::Bool(truth)), _) => Some(truth),
            (Some(Value::Text(text)), Spelling::Text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match truth {
            Some(truth) => Ok(Some(truth)),
            None => self.wrong(name, "give true or false"),
        }
    }

    /// A list, whose items XML calls `item`; with the name of each.
    pub(crate) fn list(
        &mut self,
        name: &str,
        item: &str,
    ) -> Result<Option<Vec<(String, Value)>>, Invalid> {
        let path = self.path(name);
        let values = match (self.take(name)?, self.how.0) {
            (None, _) => return Ok(None),
            (Some(Value::List(values)), Spelling::Typed) => values,
            (Some(Value::Text(text)), Spelling::Text) if text.is_empty() => Vec::new(),
            (Some(Value::Record(fields)), Spelling::Text) => {
                let (items, others): (Vec<_>, Vec<_>) =
                    fields.into_iter().partition(|(given, _)| given == item);
                if !others.is_empty() && self.how.1 == Unknown::Refused {
                    return self.wrong(name, format!("give {item} elements and nothing else"));
                }
                items.into_iter().map(|(_, value)| value).collect()
            }
            _ => return self.wrong(name, "give a list"),
        };
        let named = |(at, value)| (format!("{path}[{}]", at + 1), value);
        Ok(Some(values.into_iter().enumerate().map(named).collect()))
    }

    /// A record inside this one.
    pub(crate) fn record(&mut self, name: &str) -> Result<Option<Self>, Invalid> {
        let path = self.path(name);
        let how = self.how;
        self.take(name)?.map(|value| Self::of(value, &path, how)).transpose()
    }

    /// Refuses what is left, if that is to be refused; `known` lists what there may be.
    pub(crate) fn finish(self, known: &str) -> Result<(), Invalid> {
        match self.fields.first() {
            Some((name, _)) if self.how.1 == Unknown::Refused => {
                // Only what looks like a field's name is repeated.
                let plain = |c: u8| c.is_ascii_alphabetic() || c == b'_' || c == b'-';
                let name = match (1..=24).contains(&name.len()) && name.bytes().all(plain) {
                    true => name.as_str(),
                    false => "a field",
                };
                self.wrong(name, format!("nobody knows it: give {known}"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn how(&self) -> (Spelling, Unknown) {
        self.how
    }
}

/// A record under construction.
#[derive(Default)]
pub(crate) struct Record(Vec<(String, Value)>);

impl Record {
    pub(crate) fn put(&mut self, name: &str, value: Value) -> &mut Self {
        self.0.push((name.to_owned(), value));
        self
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.put(name, Value::Text(Zeroizing::new(text.to_owned())))
    }

    pub(crate) fn maybe(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(crate) fn done(&mut self) -> Value {
        Value::Record(std::mem::take(&mut self.0))
    }
}
