//! The sending direction of a session: numbers packets and cuts frames into fragments.
//!
//! ```
//! # use homeward_l2tp::*;
//! # fn send(_: &[u8], _: &[u8]) {}
//! # fn go(session: &SessionConfig, frame: &[u8], largest: usize) -> Result<(), TooLong> {
//! let mut outbound = Outbound::new(session);
//! for piece in outbound.plan(frame.len(), largest)? {
//!     send(&outbound.header(&piece), piece.of(frame));
//! }
//! # Ok(()) }
//! ```

use crate::codec::{Fragment, Header, HeaderTemplate, MAX_FRAGMENTS, Sequence};
use crate::error::TooLong;
use crate::session::{SessionConfig, Sublayer};

/// What a session has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboundCounters {
    /// Frames.
    pub frames: u64,
    /// Octets of frames.
    pub octets: u64,
    /// Packets; more than frames where frames were cut.
    pub packets: u64,
    /// Frames that were cut into fragments.
    pub fragmented: u64,
    /// Frames that could not be sent; see [`TooLong`].
    pub too_long: u64,
}

/// The machine of one direction, for one thread.
#[derive(Debug)]
pub struct Outbound {
    template: HeaderTemplate,
    next: Sequence,
    numbered: bool,
    counters: OutboundCounters,
}

impl Outbound {
    /// Begins with sequence number 0, as RFC 3931 4.6 has it. So a session that starts again
    /// needs a new session id and cookie: the other end would take it for a replay.
    pub fn new(session: &SessionConfig) -> Self {
        Self {
            template: HeaderTemplate::new(session),
            next: Sequence::default(),
            numbered: session.sublayer == Sublayer::Numbered,
            counters: OutboundCounters::default(),
        }
    }

    /// Plans the packets of a frame of `frame` octets, none with more than `payload` octets of
    /// it (see [`Overhead::largest_payload`](crate::Overhead::largest_payload)), and takes their
    /// sequence numbers. Fragments are of one size, the last perhaps smaller, as UDP
    /// segmentation offload wants them.
    ///
    /// Each piece is sent at most once: a piece that is left out is a lost packet, and no more.
    ///
    /// # Errors
    /// If the frame has to be cut and the session is not numbered, or would be cut into more than
    /// [`MAX_FRAGMENTS`].
    #[inline]
    pub fn plan(&mut self, frame: usize, payload: usize) -> Result<Pieces, TooLong> {
        let (count, size) = if frame <= payload {
            (1, frame)
        } else {
            match self.cut(frame, payload) {
                Ok(cut) => cut,
                Err(error) => {
                    self.counters.too_long += 1;
                    return Err(error);
                }
            }
        };
        let first = self.next;
        self.next = first.plus(count);
        self.counters.frames += 1;
        self.counters.octets += frame as u64;
        self.counters.packets += u64::from(count);
        Ok(Pieces { next: 0, count, size, frame, first })
    }

    #[cold]
    fn cut(&mut self, frame: usize, payload: usize) -> Result<(u32, usize), TooLong> {
        if !self.numbered {
            return Err(TooLong::NeedsFragments { frame, payload });
        }
        let too_many = TooLong::TooManyFragments { frame, payload };
        let count = if payload == 0 { return Err(too_many) } else { frame.div_ceil(payload) };
        if count > MAX_FRAGMENTS {
            return Err(too_many);
        }
        self.counters.fragmented += 1;
        Ok((u32::try_from(count).unwrap_or(u32::MAX), frame.div_ceil(count)))
    }

    /// The header of a piece.
    #[inline]
    pub fn header(&self, piece: &Piece) -> Header {
        self.template.header(piece.sequence, piece.fragment)
    }

    /// The template, for VCCV messages from another thread.
    pub const fn template(&self) -> &HeaderTemplate {
        &self.template
    }

    /// What was sent so far.
    pub const fn counters(&self) -> &OutboundCounters {
        &self.counters
    }
}

/// One packet's part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the frame.
    pub offset: usize,
    /// Its octets.
    pub len: usize,
    /// Its number.
    pub sequence: Sequence,
    /// Whether it is first, last, between, or all.
    pub fragment: Fragment,
}

impl Piece {
    /// Its octets of the frame; fewer if the frame is shorter than was planned.
    #[inline]
    pub fn of<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let end = self.offset.saturating_add(self.len).min(frame.len());
        frame.get(self.offset..end).unwrap_or_default()
    }
}

/// The packets of one frame, in order.
#[derive(Debug, Clone, Copy)]
pub struct Pieces {
    next: u32,
    count: u32,
    size: usize,
    frame: usize,
    first: Sequence,
}

impl Iterator for Pieces {
    type Item = Piece;

    #[inline]
    fn next(&mut self) -> Option<Piece> {
        if self.next >= self.count {
            return None;
        }
        let offset = self.size * self.next as usize;
        let fragment = match (self.next == 0, self.next + 1 == self.count) {
            (true, true) => Fragment::Whole,
            (true, false) => Fragment::First,
            (false, false) => Fragment::Middle,
            (false, true) => Fragment::Last,
        };
        let sequence = self.first.plus(self.next);
        self.next += 1;
        Some(Piece { offset, len: self.size.min(self.frame - offset), sequence, fragment })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.count - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Pieces {}
