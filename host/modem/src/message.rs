//! Short messages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Where a message goes: 2 to 20 digits, with or without a `+` before them. Prints its first three
/// characters.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Number(String);

/// A text that is no number to send to. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number to send to is 2 to 20 digits, with or without a '+' before them")]
pub struct NumberError;

impl Number {
    /// The number as it was given. Whoever calls this keeps it out of logs above DEBUG.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text`, as a message came with it, is that number.
    pub fn is(&self, text: &str) -> bool {
        self.0.trim_start_matches('+') == text.trim_start_matches('+')
    }
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if (2..=20).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NumberError)
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}***", self.0.get(..3).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A message that came, put together if it was in parts. It is no longer on the modem.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// From whom: a number, or letters.
    pub from: String,
    /// What it says: a password, perhaps.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("octets", &self.text.len()).finish_non_exhaustive()
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmsError {
    /// There is no modem, or none that can.
    #[error("there is no modem that could send a message now")]
    NoModem,
    /// The modem or the network refused.
    #[error("the modem did not send the message: {0}")]
    Refused(String),
    /// The source has ended.
    #[error("nobody sends messages any more")]
    Ended,
}

pub(crate) struct Order {
    pub(crate) to: Number,
    pub(crate) text: Zeroizing<String>,
    pub(crate) done: oneshot::Sender<Result<(), SmsError>>,
}

/// Sends messages. Clones send through the same modem.
#[derive(Debug, Clone)]
pub struct Sender(pub(crate) mpsc::Sender<Order>);

impl Sender {
    /// Sends a message, in parts if it is long, and waits until the network has it. At most a few
    /// minutes.
    ///
    /// # Errors
    /// Any of [`SmsError`].
    pub async fn send(&self, to: &Number, text: &str) -> Result<(), SmsError> {
        let (done, answer) = oneshot::channel();
        let order = Order { to: to.clone(), text: Zeroizing::new(text.to_owned()), done };
        self.0.send(order).await.map_err(|_| SmsError::Ended)?;
        answer.await.map_err(|_| SmsError::Ended)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_no_command() {
        for good in ["+447700900123", "7726", "12"] {
            assert!(good.parse::<Number>().is_ok(), "{good}");
        }
        let long = "1".repeat(21);
        for bad in ["", "+", "1", "12\"", "12;", "++12", "12 3", "Homeward", long.as_str()] {
            assert_eq!(bad.parse::<Number>(), Err(NumberError), "{bad}");
        }
        let number: Number = "+447700900123".parse().unwrap();
        assert!(number.is("447700900123") && number.is("+447700900123") && !number.is("4477"));
        assert_eq!(format!("{number:?}"), "+44***");
    }

    #[test]
    fn a_message_prints_nothing_of_what_it_says() {
        let text = Zeroizing::new("horse".to_owned());
        let shown = format!("{:?}", Message { from: "+44".to_owned(), text });
        assert_eq!(shown, "Message { octets: 5, .. }");
    }
}
