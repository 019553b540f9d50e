//! macOS: no debugger of this user's other processes.

/// Refuses every debugger that wants to attach to this process from now on.
pub(crate) fn deny() {
    // SAFETY: PT_DENY_ATTACH reads neither the address nor the data, and is about this process alone.
    unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) };
}
