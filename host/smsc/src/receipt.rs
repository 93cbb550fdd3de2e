//! Delivery receipts (SMPP 3.4, 4.6.1 and appendix B).

/// What became of a message (5.2.28).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is on its way.
    Enroute,
    /// It was delivered.
    Delivered,
    /// Its time ran out.
    Expired,
    /// It was deleted.
    Deleted,
    /// It cannot be delivered.
    Undeliverable,
    /// It was taken on behalf of the receiver.
    Accepted,
    /// It was rejected.
    Rejected,
    /// Nobody knows.
    Unknown,
}

impl State {
    /// A word for logs and figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroute => "enroute",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Undeliverable => "undeliverable",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Enroute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            8 => Self::Rejected,
            _ => Self::Unknown,
        }
    }

    fn of_word(word: &str) -> Self {
        // Some write it out, some cut it at seven letters.
        let is = |whole: &str| word.len() >= 5 && whole.starts_with(&word.to_ascii_uppercase());
        match () {
            () if is("ENROUTE") => Self::Enroute,
            () if is("DELIVRD") || is("DELIVERED") => Self::Delivered,
            () if is("EXPIRED") => Self::Expired,
            () if is("DELETED") => Self::Deleted,
            () if is("UNDELIVERABLE") => Self::Undeliverable,
            () if is("ACCEPTD") || is("ACCEPTED") => Self::Accepted,
            () if is("REJECTD") || is("REJECTED") => Self::Rejected,
            () => Self::Unknown,
        }
    }
}

/// A delivery receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message, as the SMSC named it when it took it; empty where the receipt does not say.
    pub message_id: String,
    /// What became of it.
    pub state: State,
}

/// The longest message_id (SMPP 3.4, 4.4.2).
const MAX_ID: usize = 64;

impl Receipt {
    /// Reads a receipt. What its TLVs say (receipted_message_id, message_state) counts before the
    /// text, `id:… … stat:…`, which every SMSC writes a little differently.
    pub(crate) fn read(id: Option<&str>, state: Option<u8>, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let field = |key: &str| {
            let mut words = text.split_ascii_whitespace();
            words.find_map(|word| {
                let (name, value) = word.split_once(':')?;
                name.eq_ignore_ascii_case(key).then(|| value.to_owned())
            })
        };
        let message_id = id.map(str::to_owned).or_else(|| field("id")).unwrap_or_default();
        let message_id = message_id.chars().filter(char::is_ascii_graphic).take(MAX_ID).collect();
        let by_word = || field("stat").map_or(State::Unknown, |word| State::of_word(&word));
        Self { message_id, state: state.map_or_else(by_word, State::of_code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_receipt_is_read_from_its_text_and_its_tlvs_count_more() {
        // SMPP 3.4, appendix B.
        let text = b"id:0123456789 sub:001 dlvrd:001 submit date:0912031200 \
                     done date:0912031201 stat:DELIVRD err:000 text:hello";
        let receipt = Receipt::read(None, None, text);
        assert_eq!((receipt.message_id.as_str(), receipt.state), ("0123456789", State::Delivered));
        let receipt = Receipt::read(Some("abc"), Some(5), text);
        assert_eq!((receipt.message_id.as_str(), receipt.state), ("abc", State::Undeliverable));
        let states = [("UNDELIV", State::Undeliverable), ("ACCEPTD", State::Accepted)];
        for (word, state) in states {
            let text = format!("ID:7 STAT:{word}");
            assert_eq!(Receipt::read(None, None, text.as_bytes()).state, state);
        }
        assert_eq!(Receipt::read(None, None, b"stat:D id").state, State::Unknown);
    }

    proptest! {
        #[test]
        fn any_text_is_some_receipt_whose_id_can_be_printed(text: Vec<u8>, state: Option<u8>) {
            let receipt = Receipt::read(None, state, &text);
            prop_assert!(receipt.message_id.len() <= MAX_ID);
            prop_assert!(receipt.message_id.bytes().all(|c| c.is_ascii_graphic()));
        }

        #[test]
        fn an_id_and_a_state_survive(id in "[0-9a-zA-Z-]{1,64}", code in 1u8..=8) {
            let receipt = Receipt::read(Some(&id), Some(code), b"");
            prop_assert_eq!(receipt, Receipt { message_id: id, state: State::of_code(code) });
        }
    }
}
