//! A token bucket that is told the time.

use std::time::{Duration, Instant};

/// How many tokens a bucket holds, and how long it takes to regain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    pub(crate) capacity: u32,
    pub(crate) period: Duration,
}

/// Holds as many tokens as its rate says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// When it will be full again: all there is to know, and exact.
    full_at: Instant,
    /// The latest time that it was told. Threads tell it theirs in any order, and one that is a
    /// moment late must not be refused for that.
    latest: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { rate, full_at: now, latest: now }
    }

    /// Takes a token.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let (now, Rate { capacity, period }) = (self.latest.max(now), self.rate);
        self.latest = now;
        let filled = self.full_at.max(now) + period;
        let wait = filled.duration_since(now).saturating_sub(period * capacity);
        if wait.is_zero() {
            self.full_at = filled;
            Ok(())
        } else {
            Err(wait)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { capacity: 5, period: Duration::from_secs(1) };

    #[test]
    fn five_at_once_then_one_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::full(RATE, start);
        for _ in 0..5 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(at(999)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(at(1000)), Ok(()));
        assert_eq!(bucket.take(at(1000)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(at(2500)), Ok(()));
        assert_eq!(
            bucket.take(at(2500)),
            Err(Duration::from_millis(500)),
            "a refusal costs nothing"
        );
    }

    #[test]
    fn times_that_come_out_of_order_cost_nobody_a_token() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::full(RATE, at(10));
        for millis in [10, 3, 12, 0, 11] {
            assert_eq!(bucket.take(at(millis)), Ok(()), "{millis}");
        }
        assert!(bucket.take(at(12)).is_err());
    }

    #[test]
    fn a_minute_gives_sixty_and_never_more_than_five_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        let taken = (0..60_000)
            .filter(|millis| bucket.take(start + Duration::from_millis(*millis)).is_ok())
            .count();
        assert_eq!(taken, 5 + 59);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| bucket.take(later).is_ok()).count(), 5);
    }
}
