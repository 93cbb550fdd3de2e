//! Where the next scan is to be.

/// Of so many scans, one is of all that the station can hear; the others, which take a fraction of
/// its time, are where networks of ours were heard last. A scan of all takes seconds in which
/// nothing is measured: with one in sixteen, a twelfth of the time of a station near a network.
const WHOLE: u32 = 16;
/// A scan of more frequencies than this takes as long as a whole one.
const FEW: usize = 8;

/// Where networks of ours were heard last, and how often was listened there since.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// In MHz.
    frequencies: Vec<u32>,
    /// Scans since the last whole one.
    scans: u32,
}

impl Span {
    /// Where the next scan is to be, in MHz; nothing is everywhere. Only where networks of ours
    /// are `known` to be, if there are any: else everywhere now and then.
    pub(crate) fn next(&mut self, known: bool) -> &[u32] {
        if !known || self.frequencies.is_empty() {
            let whole = self.scans == 0;
            self.scans = (self.scans + 1) % WHOLE;
            if whole {
                return &[];
            }
        }
        &self.frequencies
    }

    /// Networks of ours were heard at these frequencies, in MHz, and nowhere else.
    pub(crate) fn heard(&mut self, frequencies: impl Iterator<Item = u32>) {
        self.frequencies = frequencies.collect();
        self.frequencies.sort_unstable();
        self.frequencies.dedup();
        if self.frequencies.len() > FEW {
            self.frequencies.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scan_in_sixteen_is_everywhere_and_none_while_one_is_measured() {
        let mut span = Span::default();
        assert_eq!(span.next(true), [0; 0], "nothing is known");
        span.heard([2437, 2412, 2437].into_iter());
        let everywhere = |span: &mut Span, known: bool, scans: usize| -> Vec<usize> {
            (1..=scans).filter(|_| span.next(known).is_empty()).collect()
        };
        assert_eq!(everywhere(&mut span, false, 40), [16, 32]);
        assert!(everywhere(&mut span, true, 40).is_empty());
        // Those did not count.
        assert_eq!(everywhere(&mut span, false, 10), [8]);
        assert_eq!(span.next(true), [2412, 2437]);
    }

    #[test]
    fn where_ours_are_in_many_places_a_scan_is_of_all() {
        let mut span = Span::default();
        span.heard(2412..2421);
        assert_eq!(span.next(true), [0; 0]);
        span.heard(2412..2420);
        assert_eq!(span.next(true).len(), 8);
    }
}
