//! The receiving direction of a session: believes packets, drops replays, puts fragments together.

mod reassembly;
mod window;

use std::time::Duration;

use homeward_model::Instant;

use crate::codec::{DataMessage, ETHERNET_HEADER_LEN, Fragment, Sequence};
use crate::error::Discard;
use crate::session::{SessionConfig, Sublayer};
use reassembly::Reassembly;
use window::Window;

/// The limits of an [`Inbound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboundSettings {
    /// How many sequence numbers back from the highest a packet may still come, rounded up to a
    /// power of two; one bit each. 4,096 unless set.
    pub window: usize,
    /// The most octets of a frame that is put together. 2,048 unless set: an Ethernet frame with
    /// tags to spare.
    pub max_frame: usize,
    /// The most frames, or separate parts of frames, that wait for fragments at a time; beyond
    /// that the oldest is given up. 8 unless set.
    pub max_runs: usize,
    /// The most octets that wait; at least one frame's. 16,384 unless set.
    pub max_held: usize,
    /// How long a fragment waits for the rest of its frame. 200 ms unless set.
    pub timeout: Duration,
}

impl Default for InboundSettings {
    fn default() -> Self {
        Self {
            window: 4096,
            max_frame: 2048,
            max_runs: 8,
            max_held: 16_384,
            timeout: Duration::from_millis(200),
        }
    }
}

impl InboundSettings {
    fn max_held(&self) -> usize {
        self.max_held.max(self.max_frame)
    }
}

/// What a packet came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery<'a> {
    /// An Ethernet frame without FCS, at least 14 octets: where it lies in the packet, or, put
    /// together from fragments, in the machine's buffer.
    Frame(&'a [u8]),
    /// A VCCV message (RFC 5085): for [`Echo::decode`](crate::Echo::decode). It has no sequence
    /// number that would tell a replay.
    Control(&'a [u8]),
    /// A fragment of a frame that is not whole yet.
    Pending,
}

/// What a session has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundCounters {
    /// Frames delivered.
    pub frames: u64,
    /// Octets of frames delivered.
    pub octets: u64,
    /// VCCV messages delivered.
    pub control: u64,
    /// Fragments taken.
    pub fragments: u64,
    /// Frames that were put together; they count as `frames` too.
    pub reassembled: u64,
    /// Parts of frames given up because the rest did not come in time.
    pub timed_out: u64,
    /// Parts of frames given up for want of room.
    pub evicted: u64,
    discards: [u64; Discard::ALL.len()],
}

impl InboundCounters {
    /// Packets dropped for a reason.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discards.get(reason as usize).copied().unwrap_or_default()
    }

    /// Packets dropped, by reason; [`Discard::label`] has the words.
    pub fn discards(&self) -> impl Iterator<Item = (Discard, u64)> {
        Discard::ALL.into_iter().zip(self.discards)
    }

    #[cold]
    fn discard(&mut self, reason: Discard) {
        if let Some(count) = self.discards.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// The machine of one direction, for one thread.
///
/// Sequence numbers only drop what was seen before: packets pass in the order of their arrival,
/// without waiting for others. A number up to 2^23 ahead is followed, so any loss is survived;
/// one behind the window is taken for a replay. Nothing else moves the window: an other end that
/// began again has to come with a new session id and cookie, and so with a new machine here.
#[derive(Debug)]
pub struct Inbound {
    session: SessionConfig,
    settings: InboundSettings,
    window: Window,
    reassembly: Option<Box<Reassembly>>,
    counters: InboundCounters,
    /// The number of the last packet that had the right cookie, if it had one.
    number: Option<Sequence>,
}

impl Inbound {
    /// A machine that has seen nothing.
    pub fn new(session: &SessionConfig, settings: InboundSettings) -> Self {
        let window = match session.sublayer {
            Sublayer::None => Window::default(),
            Sublayer::Unnumbered | Sublayer::Numbered => Window::new(settings.window),
        };
        Self {
            session: *session,
            settings,
            window,
            reassembly: None,
            counters: InboundCounters::default(),
            number: None,
        }
    }

    /// Takes a packet, from the start of its L2TP header. What it came to lies in the packet or
    /// in the machine, until the next one.
    ///
    /// # Errors
    /// Why it was dropped; it is counted already.
    #[inline]
    pub fn accept<'a>(
        &'a mut self,
        packet: &'a [u8],
        now: Instant,
    ) -> Result<Delivery<'a>, Discard> {
        self.accept_by(None, packet, now)
    }

    /// Takes a packet of another session than that of the machine, which shares its numbers: of
    /// several paths to one other end each has a session of its own, and a packet that came by one
    /// is not taken again by another. `None` is the machine's own.
    ///
    /// # Errors
    /// Why it was dropped; it is counted already.
    #[inline]
    pub fn accept_by<'a>(
        &'a mut self,
        session: Option<&SessionConfig>,
        packet: &'a [u8],
        now: Instant,
    ) -> Result<Delivery<'a>, Discard> {
        match self.sort(session, packet, now) {
            Ok(Sorted::Whole(frame)) => {
                self.counters.frames += 1;
                self.counters.octets += frame.len() as u64;
                Ok(Delivery::Frame(frame))
            }
            Ok(Sorted::Control(message)) => {
                self.counters.control += 1;
                Ok(Delivery::Control(message))
            }
            Ok(Sorted::Pending) => Ok(Delivery::Pending),
            Ok(Sorted::Reassembled) => {
                let frame = self.reassembly.as_ref().map_or(&[][..], |held| held.whole());
                self.counters.frames += 1;
                self.counters.octets += frame.len() as u64;
                Ok(Delivery::Frame(frame))
            }
            Err(reason) => {
                self.counters.discard(reason);
                Err(reason)
            }
        }
    }

    /// Gives up fragments that waited too long, and the buffers once no fragments come any more.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(reassembly) = &mut self.reassembly {
            reassembly.expire(now, &self.settings, &mut self.counters);
            if reassembly.is_idle(now, &self.settings) {
                self.reassembly = None;
            }
        }
    }

    /// When to call [`Self::handle_timeout`]; `None` while no fragments are in flight. Late is
    /// harmless: only memory waits for it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reassembly.as_ref().map(|reassembly| reassembly.due(&self.settings))
    }

    /// What was received so far.
    pub const fn counters(&self) -> &InboundCounters {
        &self.counters
    }

    /// The sequence number of the packet that was taken last, also if it was dropped for that: a
    /// packet that had the right cookie. `None` if it had no number.
    pub const fn number(&self) -> Option<Sequence> {
        self.number
    }

    /// Octets held for frames that are not whole.
    pub fn held(&self) -> usize {
        self.reassembly.as_ref().map_or(0, |reassembly| reassembly.held())
    }

    #[inline]
    fn sort<'a>(
        &mut self,
        session: Option<&SessionConfig>,
        packet: &'a [u8],
        now: Instant,
    ) -> Result<Sorted<'a>, Discard> {
        self.number = None;
        let message = DataMessage::decode(packet, session.unwrap_or(&self.session))?;
        self.number = message.sequence;
        if message.control {
            return Ok(Sorted::Control(message.payload));
        }
        match message.sequence {
            Some(number) => self.window.accept(number)?,
            None if self.session.sublayer == Sublayer::Numbered => {
                return Err(Discard::Unnumbered);
            }
            None => {}
        }
        if message.fragment == Fragment::Whole {
            return if message.payload.len() < ETHERNET_HEADER_LEN {
                Err(Discard::Runt)
            } else {
                Ok(Sorted::Whole(message.payload))
            };
        }
        self.reassemble(&message, now)
    }

    fn reassemble<'a>(
        &mut self,
        message: &DataMessage<'a>,
        now: Instant,
    ) -> Result<Sorted<'a>, Discard> {
        let (Some(number), Sublayer::Numbered) = (message.sequence, self.session.sublayer) else {
            return Err(Discard::UnexpectedFragment);
        };
        let reassembly = self.reassembly.get_or_insert_default();
        let whole = reassembly.accept(
            number,
            message.fragment,
            message.payload,
            now,
            &self.settings,
            &mut self.counters,
        )?;
        self.counters.fragments += 1;
        if !whole {
            return Ok(Sorted::Pending);
        }
        if reassembly.whole().len() < ETHERNET_HEADER_LEN {
            return Err(Discard::Runt);
        }
        Ok(Sorted::Reassembled)
    }
}

/// A [`Delivery`] that does not borrow from the machine yet.
enum Sorted<'a> {
    Whole(&'a [u8]),
    Control(&'a [u8]),
    Pending,
    Reassembled,
}
