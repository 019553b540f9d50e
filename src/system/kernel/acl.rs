//! Windows' access lists: who can reach a file or a directory besides its owner, the system and
//! administrators.

use std::ffi::c_void;
use std::fs::File;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::{io, ptr};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::*;
use windows_sys::Win32::Security::*;
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

use super::{done, windows::wide};

/// Makes a directory that only its owner, the system and administrators can reach, with all that will be
/// in it.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    let (list, path) = (Descriptor::private()?, wide(path));
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: list.0,
        bInheritHandle: 0,
    };
    // SAFETY: a text that ends with a zero, and attributes that live until the call is over.
    done(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// Makes that so of what is there already, opened with the right to change its list.
pub(crate) fn make_private(file: &File) -> io::Result<()> {
    let (list, handle) = (Descriptor::private()?, file.as_raw_handle());
    // SAFETY: a handle that is open, and a descriptor that lives until the call is over.
    done(unsafe { SetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, list.0) })
}

/// Does its list give anything to anybody else?
pub(crate) fn others_can_reach(file: &File) -> io::Result<bool> {
    let (mut owner, mut dacl): (PSID, *mut ACL) = (ptr::null_mut(), ptr::null_mut());
    let (mut whole, kind, no) = (Descriptor(ptr::null_mut()), SE_FILE_OBJECT, ptr::null_mut());
    let (handle, what) =
        (file.as_raw_handle(), OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION);
    let (owner_at, dacl_at, whole_at) = (&raw mut owner, &raw mut dacl, &raw mut whole.0);
    // SAFETY: a handle that is open, and places for the answers, which `whole` has until it is dropped.
    let failed = unsafe {
        GetSecurityInfo(handle, kind, what, owner_at, no, dacl_at, ptr::null_mut(), whole_at)
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed.cast_signed()));
    }
    if dacl.is_null() {
        return Ok(true); // no list is no limit
    }
    // SAFETY: the list lives as long as `whole`, and has as many entries as it says. The last member of an
    // entry of this type is where its SID begins.
    unsafe {
        for at in 0..u32::from((*dacl).AceCount) {
            let mut entry: *mut c_void = ptr::null_mut();
            done(GetAce(dacl, at, &raw mut entry))?;
            if u32::from((*entry.cast::<ACE_HEADER>()).AceType) != ACCESS_ALLOWED {
                continue;
            }
            let allowed = entry.cast::<ACCESS_ALLOWED_ACE>();
            let sid: PSID = (&raw mut (*allowed).SidStart).cast();
            let is_known = KNOWN.into_iter().any(|known| IsWellKnownSid(sid, known) != 0);
            if (*allowed).Mask != 0 && !is_known && EqualSid(sid, owner) == 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Freed on drop.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn private() -> io::Result<Descriptor> {
        let text: Vec<u16> = OWNER_ONLY.encode_utf16().chain([0]).collect();
        let mut made = Descriptor(ptr::null_mut());
        // SAFETY: a text that ends with a zero, and a place for the answer.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made.0,
                ptr::null_mut(),
            )
        })?;
        Ok(made)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it is the system's, which wants it back in this way; null may be given.
        unsafe { LocalFree(self.0) };
    }
}

/// Nothing is inherited from the directory above. The owner, the system and administrators may do
/// everything, here and with all that comes into it.
const OWNER_ONLY: &str = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
const KNOWN: [i32; 4] =
    [WinLocalSystemSid, WinBuiltinAdministratorsSid, WinCreatorOwnerSid, WinCreatorOwnerRightsSid];
/// `ACCESS_ALLOWED_ACE_TYPE`
const ACCESS_ALLOWED: u32 = 0;
