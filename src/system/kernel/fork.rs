//! A second process from this one, without another program: it works where there is no `/proc` to find
//! this program's file by.

use std::io;

use super::checked;

/// Makes a second process; `true` in the new one. The caller must not have started a thread yet: the
/// new process has only the thread that calls, and would wait for ever for a lock that another held.
/// (tests/sandbox.rs: `the_helper_is_there_before_the_first_thread`)
pub(crate) fn fork() -> io::Result<bool> {
    // SAFETY: it takes nothing. With one thread, every lock and every allocation of this process is in
    // a state that the new one can go on with.
    Ok(checked(unsafe { libc::fork() })? == 0)
}
