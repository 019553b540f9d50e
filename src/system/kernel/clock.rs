//! The clock on the wall.

use crate::base::time::Timestamp;

/// A moment as `YYYY-MM-DD HH:MM:SS` where this process runs: by `TZ`, else `/etc/localtime`, else UTC.
#[cfg(unix)]
pub(crate) fn local(at: Timestamp) -> String {
    let seconds = at.seconds().try_into().unwrap_or_default();
    // SAFETY: integers and a pointer, for which all zeros is a value.
    let mut at: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both live as long as the call, and nothing here changes the environment meanwhile.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut at) };
    let day = format!("{:04}-{:02}-{:02}", at.tm_year + 1900, at.tm_mon + 1, at.tm_mday);
    format!("{day} {:02}:{:02}:{:02}", at.tm_hour, at.tm_min, at.tm_sec)
}

#[cfg(not(unix))]
pub(crate) fn local(at: Timestamp) -> String {
    at.to_string()
}
