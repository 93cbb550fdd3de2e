//! Memory for held frames: bounded, and used again.

use homeward_model::Instant;

/// Octets of a buffer; a longer frame gets what it needs.
const SIZE: usize = 2048;

/// The buffer that is not counted: for the frame that there is no other room for.
pub(super) const SPARE: u32 = 0;

#[derive(Debug)]
struct Buffer {
    octets: Vec<u8>,
    /// When its frame came.
    arrived: Instant,
}

#[derive(Debug)]
pub(super) struct Pool {
    buffers: Vec<Buffer>,
    free: Vec<u32>,
    spare: bool,
    /// Octets of all buffers, free ones too, but for the spare one.
    memory: usize,
    limit: usize,
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        let spare = Buffer { octets: Vec::new(), arrived: Instant::ORIGIN };
        let limit = limit.max(SIZE);
        Self { buffers: vec![spare], free: Vec::new(), spare: true, memory: 0, limit }
    }

    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// Copies a frame into a buffer; `None` if there is no room.
    pub(super) fn take(&mut self, frame: &[u8], now: Instant) -> Option<u32> {
        let index = match self.free.last() {
            Some(index) => *index,
            None => self.add()?,
        };
        let buffer = self.buffers.get_mut(index as usize)?;
        let more = frame.len().saturating_sub(buffer.octets.capacity());
        if more > self.limit.saturating_sub(self.memory) {
            return None;
        }
        self.memory += more;
        self.free.pop();
        buffer.fill(frame, now);
        Some(index)
    }

    /// Copies a frame into the spare buffer; `None` if that is taken.
    pub(super) fn take_spare(&mut self, frame: &[u8], now: Instant) -> Option<u32> {
        if !std::mem::take(&mut self.spare) {
            return None;
        }
        self.buffers.first_mut()?.fill(frame, now);
        Some(SPARE)
    }

    pub(super) fn get(&self, index: u32) -> &[u8] {
        self.buffers.get(index as usize).map_or(&[], |buffer| &buffer.octets)
    }

    pub(super) fn arrived(&self, index: u32) -> Instant {
        self.buffers.get(index as usize).map_or(Instant::ORIGIN, |buffer| buffer.arrived)
    }

    /// Gives a buffer back.
    pub(super) fn release(&mut self, index: u32) {
        if index == SPARE {
            self.spare = true;
        } else {
            self.free.push(index);
        }
    }

    /// One more buffer, free.
    fn add(&mut self) -> Option<u32> {
        if SIZE > self.limit.saturating_sub(self.memory) {
            return None;
        }
        let index = u32::try_from(self.buffers.len()).ok()?;
        self.buffers.push(Buffer { octets: Vec::with_capacity(SIZE), arrived: Instant::ORIGIN });
        self.memory += SIZE;
        self.free.push(index);
        Some(index)
    }
}

impl Buffer {
    fn fill(&mut self, frame: &[u8], now: Instant) {
        self.octets.clear();
        self.octets.reserve_exact(frame.len());
        self.octets.extend_from_slice(frame);
        self.arrived = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_their_memory_has_a_limit() {
        let mut pool = Pool::new(3 * SIZE + 100);
        let taken: Vec<_> =
            (0..3u8).map(|n| pool.take(&[n; 1500], Instant::ORIGIN).unwrap()).collect();
        assert_eq!(pool.take(&[0; 14], Instant::ORIGIN), None);
        assert_eq!((pool.memory(), pool.get(taken[1])), (3 * SIZE, &[1; 1500][..]));
        pool.release(taken[1]);
        assert_eq!(pool.take(&[0; SIZE + 101], Instant::ORIGIN), None, "longer than there is room");
        assert_eq!(pool.take(&[7; SIZE + 100], Instant::ORIGIN), Some(taken[1]));
        assert_eq!(pool.memory(), 3 * SIZE + 100);
        assert_eq!(pool.get(taken[1]), [7; SIZE + 100]);
    }

    #[test]
    fn the_spare_buffer_is_there_once() {
        let mut pool = Pool::new(0);
        assert_eq!(pool.take_spare(&[1; 60], Instant::ORIGIN), Some(SPARE));
        assert_eq!(pool.take_spare(&[2; 60], Instant::ORIGIN), None);
        assert_eq!(pool.get(SPARE), [1; 60]);
        pool.release(SPARE);
        assert_eq!(pool.take_spare(&[2; 60], Instant::ORIGIN), Some(SPARE));
    }
}
