//! Messages as their takers and senders see them.

use std::fmt;
use std::time::Duration;

use homeward_model::Msisdn;
use rusmpp::pdus::{DeliverSm, SubmitSm};
use rusmpp::tlvs::{MessageSubmissionRequestTlvValue, TlvValue};
use rusmpp::types::{AnyOctetString, COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{EsmClass, MessagePayload, MessageType, Npi, RegisteredDelivery, Ton};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::error::SubmitError;
use crate::receipt::Receipt;

/// Whose a message is. Prints without its number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Type of number (SMPP 3.4, 5.2.5): 1 is international, 5 letters.
    pub ton: u8,
    /// Numbering plan (5.2.6): 1 is E.164.
    pub npi: u8,
    /// The number.
    pub number: String,
}

impl Address {
    /// A telephone number.
    pub fn of(number: Msisdn) -> Self {
        Self { ton: 1, npi: 1, number: number.as_str().to_owned() }
    }

    /// The telephone number, if this says that it is an international one: any other would be
    /// somebody else's.
    pub fn msisdn(&self) -> Option<Msisdn> {
        let number = match (self.ton, self.number.strip_prefix('+')) {
            (0 | 1, Some(number)) => number,
            (1, None) => &self.number,
            _ => return None,
        };
        number.parse().ok()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.number.len();
        f.debug_struct("Address")
            .field("ton", &self.ton)
            .field("npi", &self.npi)
            .field("len", &len)
            .finish()
    }
}

/// What sar_msg_ref_num, sar_total_segments and sar_segment_seqnum say (5.3.2.22 to 24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concatenation {
    /// Which message.
    pub reference: u16,
    /// How many segments it has.
    pub total: u8,
    /// Which of them this is, from 1 on.
    pub number: u8,
}

/// A message that came. Prints without its text.
pub struct Incoming {
    /// From whom.
    pub from: Address,
    /// To whom.
    pub to: Address,
    /// esm_class (5.2.12), of which bit 6 says that `octets` begin with a user data header.
    pub esm_class: u8,
    /// data_coding (5.2.19).
    pub data_coding: u8,
    /// short_message, or message_payload.
    pub octets: Zeroizing<Vec<u8>>,
    /// Where it belongs, if it says so by sar TLVs.
    pub concatenation: Option<Concatenation>,
    /// What it says, if it is a delivery receipt or an intermediate notification.
    pub receipt: Option<Receipt>,
    /// To be called once the message is taken care of.
    pub ack: Ack,
}

impl Incoming {
    pub(crate) fn read(pdu: &DeliverSm, ack: Ack) -> Self {
        let (mut payload, mut id, mut state) = (None, None, None);
        let (mut reference, mut total, mut number) = (None, None, None);
        for value in pdu.tlvs().iter().filter_map(|tlv| tlv.value()) {
            match value {
                TlvValue::MessagePayload(value) => payload = Some(value.value.as_ref()),
                TlvValue::ReceiptedMessageId(value) => id = Some(value.as_str()),
                TlvValue::MessageState(value) => state = Some(u8::from(*value)),
                TlvValue::SarMsgRefNum(value) => reference = Some(*value),
                TlvValue::SarTotalSegments(value) => total = Some(*value),
                TlvValue::SarSegmentSeqnum(value) => number = Some(*value),
                _ => {}
            }
        }
        let short = pdu.short_message().as_ref();
        // Only one of them is used (5.3.2.32).
        let octets = match (short, payload) {
            ([], Some(payload)) => payload,
            _ => short,
        };
        let concatenation = match (reference, total, number) {
            (Some(reference), Some(total), Some(number)) => {
                Some(Concatenation { reference, total, number })
            }
            _ => None,
        };
        // The second says that a message is still on its way, in the same form (5.2.12).
        let is_receipt = matches!(
            pdu.esm_class.message_type,
            MessageType::ShortMessageContainsMCDeliveryReceipt
                | MessageType::ShortMessageContainsIntermediateDeliveryNotification
        );
        let from = Address {
            ton: u8::from(pdu.source_addr_ton),
            npi: u8::from(pdu.source_addr_npi),
            number: pdu.source_addr.as_str().to_owned(),
        };
        let to = Address {
            ton: u8::from(pdu.dest_addr_ton),
            npi: u8::from(pdu.dest_addr_npi),
            number: pdu.destination_addr.as_str().to_owned(),
        };
        Self {
            from,
            to,
            esm_class: u8::from(pdu.esm_class),
            data_coding: u8::from(pdu.data_coding),
            octets: Zeroizing::new(octets.to_vec()),
            concatenation,
            receipt: is_receipt.then(|| Receipt::read(id, state, octets)),
            ack,
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("from", &self.from)
            .field("data_coding", &self.data_coding)
            .field("octets", &self.octets.len())
            .field("concatenation", &self.concatenation)
            .field("receipt", &self.receipt.is_some())
            .finish_non_exhaustive()
    }
}

/// Answers a message that came. Dropped, it tells the SMSC to deliver the message later.
#[derive(Debug)]
pub struct Ack {
    sequence: u32,
    /// As many answers fit as messages may be unanswered.
    answers: mpsc::Sender<(u32, bool)>,
    is_done: bool,
}

impl Ack {
    pub(crate) fn new(sequence: u32, answers: mpsc::Sender<(u32, bool)>) -> Self {
        Self { sequence, answers, is_done: false }
    }

    /// The message is taken care of: the SMSC may forget it.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        // A session that is gone needs no answer: the SMSC delivers again.
        let _ = self.answers.try_send((self.sequence, self.is_done));
    }
}

/// A message to be sent. Prints without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// From whom.
    pub from: Address,
    /// To whom.
    pub to: Address,
    /// esm_class.
    pub esm_class: u8,
    /// data_coding.
    pub data_coding: u8,
    /// The text, and a user data header before it if esm_class says so. What is too long for
    /// short_message, 254 octets, goes as message_payload.
    pub octets: Zeroizing<Vec<u8>>,
    /// Whether a delivery receipt is wanted.
    pub wants_receipt: bool,
    /// For how long it may be tried to deliver it; `None`: as long as the SMSC likes. Whole
    /// seconds, of at most 99 days.
    pub validity: Option<Duration>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("to", &self.to)
            .field("data_coding", &self.data_coding)
            .field("octets", &self.octets.len())
            .finish_non_exhaustive()
    }
}

/// The longest short_message (4.4.1).
const MAX_SHORT: usize = 254;

/// The longest message_payload that is sent.
const MAX_PAYLOAD: usize = 4096;

impl Outgoing {
    pub(crate) fn pdu(&self) -> Result<SubmitSm, SubmitError> {
        let invalid = |field, reason| SubmitError::Invalid { field, reason };
        let address = |field, address: &Address| {
            COctetString::<1, 21>::from_string(address.number.clone())
                .map_err(|_| invalid(field, "give at most 20 characters of ASCII"))
        };
        let receipt = if self.wants_receipt { 1 } else { 0 };
        let validity = self.validity.map_or_else(String::new, relative);
        let validity = EmptyOrFullCOctetString::from_string(validity)
            .map_err(|_| invalid("validity", "give at most 99 days"))?;
        let pdu = SubmitSm::builder()
            .source_addr_ton(Ton::from(self.from.ton))
            .source_addr_npi(Npi::from(self.from.npi))
            .source_addr(address("from", &self.from)?)
            .dest_addr_ton(Ton::from(self.to.ton))
            .dest_addr_npi(Npi::from(self.to.npi))
            .destination_addr(address("to", &self.to)?)
            .esm_class(EsmClass::from(self.esm_class))
            .validity_period(validity)
            .registered_delivery(RegisteredDelivery::from(receipt))
            .data_coding(self.data_coding.into());
        if self.octets.len() > MAX_PAYLOAD {
            return Err(invalid("octets", "give at most 4096"));
        }
        if self.octets.len() <= MAX_SHORT {
            let octets = OctetString::from_slice(&self.octets);
            let octets = octets.map_err(|_| invalid("octets", "give at most 254"))?;
            return Ok(pdu.short_message(octets).build());
        }
        let payload = MessagePayload::new(AnyOctetString::from_slice(&self.octets));
        Ok(pdu.push_tlv(MessageSubmissionRequestTlvValue::MessagePayload(payload)).build())
    }
}

/// A span in the form of a time that is relative to the SMSC's (7.1.1.2):
/// `YYMMDDhhmmsstnnR`.
fn relative(span: Duration) -> String {
    let most = 100 * 86_400 - 1;
    let seconds = span.as_secs().clamp(1, most);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // A month is as long as the SMSC takes it to be: days it does not.
    format!("0000{days:02}{:02}{:02}{:02}000R", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_time_relative_to_the_smscs() {
        let said = |seconds| relative(Duration::from_secs(seconds));
        assert_eq!(said(3600), "000000010000000R");
        assert_eq!(said(86_400 * 7 + 3 * 3600 + 62), "000007030102000R");
        assert_eq!(said(0), "000000000001000R");
        assert_eq!(said(u64::MAX), "000099235959000R");
    }

    #[test]
    fn only_an_international_number_is_somebodys() {
        let number = |ton, number: &str| {
            let address = Address { ton, npi: 1, number: number.to_owned() };
            assert!(!format!("{address:?}").contains("4917"));
            address.msisdn().map(|number| number.as_str().to_owned())
        };
        assert_eq!(number(1, "491701234567").as_deref(), Some("491701234567"));
        assert_eq!(number(1, "+491701234567").as_deref(), Some("491701234567"));
        assert_eq!(number(0, "+491701234567").as_deref(), Some("491701234567"));
        assert_eq!(number(0, "491701234567"), None);
        assert_eq!(number(2, "1701234567"), None);
        assert_eq!(number(5, "491701234567"), None);
        assert_eq!(number(1, "BANK"), None);
    }
}
