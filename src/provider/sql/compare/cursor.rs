//! Where a table's key is cut: ranges one after the other, as wide as their rows are dense, without a scan to find them.
//! Pure.

/// Rows that a range aims at.
pub const ROWS: u64 = 131_072;
/// Rows of the first range, by which it is found out who hashes faster.
pub const PROBE: u64 = 8_192;
/// Buckets of a range: about a thousand rows each.
pub const BUCKETS: u64 = 128;
/// No range is wider, so that no engine's arithmetic overflows.
const WIDEST: i128 = 1 << 62;

/// A range of a key, its end not in it. The first has no beginning and the last no end: what nobody expects there is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub low: i128,
    pub high: i128,
    pub first: bool,
    pub last: bool,
    /// Into how many buckets it is cut.
    pub parts: u64,
}

impl Range {
    /// All keys.
    pub const EVERYTHING: Self = Self {
        low: 0,
        high: 1,
        first: true,
        last: true,
        parts: BUCKETS,
    };

    /// What holds of its rows, with the key's column as it is quoted.
    pub fn filter(&self, column: &str) -> String {
        let low = (!self.first).then(|| format!("{column} >= {}", self.low));
        // A key that is no whole number, which some engines keep nevertheless, is in a range too.
        let high = (!self.last).then(|| format!("{column} < {}", self.high));
        low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
    }

    /// The same where the engine keeps nothing but whole numbers: one condition for each row instead of two.
    pub fn whole(&self, column: &str) -> String {
        if self.first || self.last {
            return self.filter(column);
        }
        format!("{column} between {} and {}", self.low, self.high - 1)
    }

    /// The width of its buckets.
    pub fn step(&self) -> u64 {
        let width = u64::try_from(self.high - self.low).unwrap_or(u64::MAX);
        width.div_ceil(self.parts.max(1)).max(1)
    }

    /// The last of its buckets.
    fn top(&self) -> i64 {
        let steps = (self.high - self.low - 1) / i128::from(self.step());
        i64::try_from(steps).unwrap_or(i64::MAX)
    }

    /// The bucket that a key is counted to by so many steps above the beginning: what lies beyond an open end falls into the
    /// bucket at that end.
    pub fn place(&self, steps: i64) -> i64 {
        steps.clamp(0, self.top().max(0))
    }

    /// One of its buckets as a range of its own.
    pub fn bucket(&self, at: i64) -> Self {
        let step = i128::from(self.step());
        let low = self.low + i128::from(at) * step;
        let last = self.last && at >= self.top();
        Self {
            low,
            high: (low + step).min(self.high),
            first: self.first && at <= 0,
            last,
            parts: BUCKETS,
        }
    }

    /// All of its buckets.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, Self)> {
        let range = *self;
        (0..=self.top()).map(move |at| (at, range.bucket(at)))
    }
}

/// The place up to which a key is cut.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The lowest key.
    low: i128,
    next: i128,
    /// The highest key.
    high: i128,
    width: i128,
    begun: bool,
    ended: bool,
    /// Keys of ranges that were taken, and of which nobody has told yet what was found.
    taken: i128,
    /// Nothing was found in the last range: the next key is asked for before the next one.
    pub sparse: bool,
    /// Ranges that were compared before, in order.
    done: Vec<(i128, i128)>,
}

impl Cursor {
    /// From the lowest key to the highest, with so many rows between them as far as that is known.
    pub fn new(low: i128, high: i128, rows: Option<u64>, mut done: Vec<(i128, i128)>) -> Self {
        done.sort_unstable();
        let span = (high - low).max(0) + 1;
        let rows = rows.filter(|rows| *rows > 0).map_or(span, i128::from).max(1);
        let mut cursor = Self {
            low,
            next: low,
            high,
            width: 1,
            begun: false,
            ended: false,
            taken: 0,
            sparse: false,
            done,
        };
        cursor.resize(span.saturating_mul(i128::from(ROWS)) / rows);
        cursor
    }

    fn resize(&mut self, width: i128) {
        self.width = width.clamp(1, WIDEST);
    }

    /// The next range; `probe`: a small one.
    pub fn take(&mut self, probe: bool) -> Option<Range> {
        while let Some(&(low, high)) = self.done.first() {
            if low > self.next {
                break;
            }
            self.done.remove(0);
            if high > self.next {
                // The ends were compared with the ranges at the ends.
                self.begun = true;
                self.next = high;
            }
        }
        if self.ended || self.next > self.high && self.begun {
            return None;
        }
        let width = if probe {
            (self.width * i128::from(PROBE) / i128::from(ROWS)).max(1)
        } else {
            self.width
        };
        let mut high = self.next + width;
        if let Some(&(done, _)) = self.done.first() {
            high = high.min(done);
        }
        let last = high > self.high;
        let range = Range {
            low: self.next,
            high,
            first: !self.begun,
            last,
            // As many rows in each as there are in those of other ranges: what a bucket costs is a part of what is measured.
            parts: if probe { BUCKETS * PROBE / ROWS } else { BUCKETS },
        };
        self.begun = true;
        self.ended = last;
        self.next = high;
        self.taken += high - range.low;
        Some(range)
    }

    /// What a range had in it.
    pub fn found(&mut self, range: &Range, rows: u64) {
        let width = range.high - range.low;
        self.taken -= width;
        if rows == 0 {
            self.sparse = true;
            return;
        }
        let ideal = width.saturating_mul(i128::from(ROWS)) / i128::from(rows);
        self.resize(ideal.clamp(self.width / 4, self.width.saturating_mul(4)));
    }

    /// The next key there is, where nothing was found in the last range; none where there is none.
    pub fn jump(&mut self, next: Option<i128>) {
        self.sparse = false;
        // The ranges between were asked for by asking for the next key. Where there is none, what had the highest key has gone.
        self.next = self.next.max(next.unwrap_or(self.high));
    }

    /// The share of the keys that is behind it, of ranges that are not compared yet nothing.
    pub fn share(&self) -> f64 {
        let span = (self.high - self.low).max(0) + 1;
        ((self.next - self.low - self.taken) as f64 / span as f64).clamp(0.0, 1.0)
    }

    /// From where the next range begins.
    pub const fn next(&self) -> i128 {
        self.next
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_between_two_whole_numbers_is_in_a_range() {
        let range = |low: i128, high: i128, first, last| Range {
            low,
            high,
            first,
            last,
            parts: BUCKETS,
        };
        assert_eq!(range(1, 101, true, false).filter("k"), "k < 101");
        assert_eq!(range(101, 201, false, false).filter("k"), "k >= 101 and k < 201");
        assert_eq!(range(201, 301, false, true).filter("k"), "k >= 201");
        assert_eq!(Range::EVERYTHING.filter("k"), "");
        assert_eq!(range(101, 201, false, false).whole("k"), "k between 101 and 200");
    }

    #[test]
    fn where_no_key_is_left_the_next_range_is_the_last() {
        let mut cursor = Cursor::new(1, 9_000_000_000_000_000_000, Some(1_000_000), Vec::new());
        let range = cursor.take(false).unwrap();
        cursor.found(&range, 0);
        assert!(cursor.sparse);
        cursor.jump(None);
        assert!(cursor.take(false).unwrap().last);
        assert_eq!(cursor.take(false), None);
    }

    proptest! {
        /// Whatever is found, the ranges touch one another and cover everything once.
        #[test]
        fn everything_is_covered_once(
            low in -1_000_000_i64..1_000_000,
            span in 0_i64..10_000_000,
            rows in proptest::option::of(0_u64..5_000_000),
            found in proptest::collection::vec(0_u64..1_000_000, 1..50),
            done in proptest::collection::vec((0_i64..10_000_000, 1_i64..1_000_000), 0..4),
        ) {
            let (low, high) = (i128::from(low), i128::from(low) + i128::from(span));
            let mut before = Vec::new();
            let mut from = low;
            for (at, width) in done {
                let begin = from.max(low + i128::from(at));
                let end = begin + i128::from(width);
                if end <= high {
                    before.push((begin, end));
                    from = end;
                }
            }
            let mut cursor = Cursor::new(low, high, rows, before.clone());
            let mut seen = before.clone();
            let mut taken = 0;
            let (mut first, mut last) = (false, false);
            while let Some(range) = cursor.take(taken == 0) {
                prop_assert!(range.high > range.low);
                first |= range.first;
                last |= range.last;
                seen.push((range.low, if range.last { range.high.max(high + 1) } else { range.high }));
                let rows = found[taken % found.len()];
                // No more than there are keys.
                let keys = u64::try_from(range.high - range.low).unwrap();
                cursor.found(&range, rows.clamp(1, keys));
                taken += 1;
                prop_assert!(taken < 20_000);
            }
            seen.sort_unstable();
            let mut at = low;
            for (begin, end) in seen {
                prop_assert_eq!(begin, at);
                at = end;
            }
            prop_assert!(at > high);
            prop_assert!(last);
            prop_assert!(first || before.first().is_some_and(|range| range.0 == low));
        }

        /// A key's bucket is the range that says so.
        #[test]
        fn a_bucket_is_a_range(
            low in -10_000_i64..10_000, width in 1_i64..1_000_000, at in 0_i64..1_000_000, parts in 1..=BUCKETS,
        ) {
            let range = Range { low: low.into(), high: i128::from(low) + i128::from(width), first: false, last: false, parts };
            let key = i128::from(low) + i128::from(at % width);
            let bucket = (key - range.low) / i128::from(range.step());
            let bucket = range.place(i64::try_from(bucket).unwrap());
            let inside = range.bucket(bucket);
            prop_assert!(inside.low <= key && key < inside.high);
            let mut end = range.low;
            for (_, one) in range.buckets() {
                prop_assert_eq!(one.low, end);
                end = one.high;
            }
            prop_assert_eq!(end, range.high);
            prop_assert!(range.buckets().count() <= usize::try_from(parts).unwrap());
        }
    }
}
