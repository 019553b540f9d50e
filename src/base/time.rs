//! The clock, and RFC 3339 timestamps with milliseconds, always in UTC.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, thread};

use crate::base::json::text_in_json;

/// Milliseconds since 1970-01-01T00:00:00Z, written `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    /// The wall clock, now. A clock set before 1970 reads as 1970.
    pub(crate) fn now() -> Timestamp {
        Timestamp::of(SystemTime::now()).unwrap_or(Timestamp(0))
    }

    /// `None` before 1970.
    fn of(time: SystemTime) -> Option<Timestamp> {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp(millis(since).min(LAST)))
    }

    /// This much later; the last moment there is, if need be.
    pub(crate) fn after(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(span)).min(LAST))
    }

    /// This much earlier; 1970 at the earliest.
    pub(crate) fn before(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(span)))
    }

    /// As a number, for names of files that have no other character.
    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    /// To the minute, `YYYY-MM-DDTHH:MMZ`, for a person who looks down a column.
    pub(crate) fn minute(self) -> String {
        format!("{:.16}Z", self.to_string())
    }

    /// The day in UTC, `YYYY-MM-DD`.
    pub(crate) fn day(self) -> String {
        format!("{:.10}", self.to_string())
    }

    /// Whole days from then to this moment; none if then is later.
    pub(crate) fn days_since(self, then: Timestamp) -> u64 {
        self.0.saturating_sub(then.0) / (24 * 3600 * 1000)
    }

    /// Whole seconds since 1970.
    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Reads exactly the form that `Display` writes; `None` for every other spelling.
    pub(crate) fn parse(text: &str) -> Option<Timestamp> {
        let stamp = Timestamp::of(humantime::parse_rfc3339(text).ok()?)?;
        (stamp.to_string() == text).then_some(stamp)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).fmt(f)
    }
}

text_in_json!(Timestamp, ToString::to_string, Timestamp::parse);

/// The monotonic clock, now.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// A span such as `90d` or `12h`, from a minute to ten years.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let may_be = Duration::from_secs(60)..=Duration::from_secs(3653 * 24 * 3600);
    let span = humantime::parse_duration(text).ok()?;
    may_be.contains(&span).then_some(span)
}

/// A span of an hour or more, for what is counted in days: a person who writes `6m` there means six months.
pub(crate) fn parse_age(text: &str) -> Option<Duration> {
    parse_span(text).filter(|span| *span >= Duration::from_secs(3600))
}

/// A moment as a person writes it, in UTC: a date, a date and a time, or what `Display` writes.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    let midnight = format!("{text}T00:00:00Z");
    let read = |text| humantime::parse_rfc3339_weak(text).ok();
    Timestamp::of(read(text).or_else(|| read(&midnight))?)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A moment on the monotonic clock by which something must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `span` from now.
    pub(crate) fn after(span: Duration) -> Deadline {
        Deadline(Instant::now() + span)
    }

    /// The time left, or `None` when it is over. Never zero, so that it can be a socket's timeout.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Tries until there is something, with a pause in between; `None` when the time is over.
    pub(crate) fn poll<T, E>(
        &self,
        pause: Duration,
        mut attempt: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            match attempt()? {
                None if self.left().is_some() => thread::sleep(pause),
                found => return Ok(found),
            }
        }
    }
}

/// 9999-12-31T23:59:59.999Z, the last moment that four digits of a year can name.
const LAST: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in
            ["2026-01-02T03:04:05.678Z", "1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]
        {
            assert_eq!(Timestamp::parse(text).map(|t| t.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn spans_are_a_minute_to_ten_years() {
        for (text, seconds) in [("90d", 90 * 86400), ("12h", 43200), ("1m", 60), ("1h 30m", 5400)] {
            assert_eq!(parse_span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "59s", "11y", "90", "-1d", "d", "1d;"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_a_date_and_a_time() {
        for (text, moment) in [
            ("2026-11-20", "2026-11-20T00:00:00.000Z"),
            ("2026-11-20 14:03:09", "2026-11-20T14:03:09.000Z"),
            ("2026-11-20T14:03:09Z", "2026-11-20T14:03:09.000Z"),
            ("2026-11-20T14:03:09.123Z", "2026-11-20T14:03:09.123Z"),
        ] {
            let read = parse_moment(text).map(|at| at.to_string());
            assert_eq!(read.as_deref(), Some(moment));
        }
        for text in ["", "yesterday", "2026-11", "2026-13-01", "14:03:09", "1969-12-31"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
        let at = Timestamp::parse("2026-11-20T14:03:09.123Z").unwrap();
        assert_eq!(at.minute(), "2026-11-20T14:03Z");
        assert_eq!(at.seconds(), 1_795_183_389);
        assert_eq!(at.day(), "2026-11-20");
        for (hours, days) in [(0, 0), (23, 0), (24, 1), (47, 1), (24 * 400, 400)] {
            let later = at.after(Duration::from_secs(hours * 3600));
            assert_eq!((later.days_since(at), at.days_since(later)), (days, 0), "{hours}");
        }
        assert_eq!(at.before(Duration::from_secs(9)).after(Duration::from_secs(9)), at);
        assert_eq!(at.before(Duration::MAX).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.67Z",
            "2026-01-02T03:04:05.6789Z",
            "2026-01-02 03:04:05.678Z",
            "2026-01-02T03:04:05.678+00:00",
            "2026-13-02T03:04:05.678Z",
            "2026-02-30T03:04:05.678Z",
            "1969-12-31T23:59:59.999Z",
            "2026-01-02T03:04:60.678Z",
            " 2026-01-02T03:04:05.678Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
