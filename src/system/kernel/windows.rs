//! What std has no way for on Windows: a move that is on the disk when it is done, children that end with
//! this process, and no report of a crash.

use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::{io, ptr};

use windows_sys::Win32::Storage::FileSystem::*;
use windows_sys::Win32::System::Diagnostics::Debug::*;
use windows_sys::Win32::System::JobObjects::*;
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::done;

/// No window and no report, which would have memory in it, when this process dies.
pub(crate) fn report_no_crashes() {
    // SAFETY: a number; it is of effect on this process alone.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX) };
}

/// This process and those that it will start: they all end when this one does, before [`Job::let_go`].
pub(crate) struct Job(OwnedHandle);

impl Job {
    pub(crate) fn of_this_process() -> io::Result<Job> {
        // SAFETY: nothing has to be given.
        let handle = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was made just now, and nobody else has it.
        let job = Job(unsafe { OwnedHandle::from_raw_handle(handle) });
        job.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)?;
        // SAFETY: handles that are open.
        done(unsafe { AssignProcessToJobObject(job.0.as_raw_handle(), GetCurrentProcess()) })?;
        Ok(job)
    }

    /// What is still running goes on without this process.
    pub(crate) fn let_go(&self) -> io::Result<()> {
        self.limit(0)
    }

    fn limit(&self, flags: u32) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        let (handle, size) = (self.0.as_raw_handle(), size_of_val(&limits) as u32);
        // SAFETY: a handle that is open, and limits of this kind and size.
        done(unsafe {
            let limits = (&raw const limits).cast();
            SetInformationJobObject(handle, JobObjectExtendedLimitInformation, limits, size)
        })
    }
}

/// Moves a file within its volume, and comes back when the disk has it. Without a flag that says otherwise
/// it fails if there is one of the new name.
pub(crate) fn move_file(from: &Path, to: &Path, flags: MOVE_FILE_FLAGS) -> io::Result<()> {
    let (from, to, flags) = (wide(from), wide(to), flags | MOVEFILE_WRITE_THROUGH);
    // SAFETY: two texts that end with a zero.
    done(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) })
}

/// A path as the system takes it, of any length, with a zero behind it.
pub(super) fn wide(path: &Path) -> Vec<u16> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Paths of more than 260 units need this mark. One that has it, or is a share's, stays as it is.
    let is_marked = path.as_os_str().as_encoded_bytes().starts_with(br"\\");
    let mark = if is_marked { "" } else { r"\\?\" };
    mark.encode_utf16().chain(path.as_os_str().encode_wide()).chain([0]).collect()
}
