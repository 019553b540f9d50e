//! Landlock (Linux): what this process may still reach, given up for good by itself.
//!
//! Source: the kernel's "Landlock: unprivileged access control" and `linux/landlock.h`. Each version of
//! the interface knows more; what this one does not know is not asked for.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

use libc::{SYS_landlock_add_rule as ADD_RULE, SYS_landlock_create_ruleset as CREATE_RULESET};
use libc::{SYS_landlock_restrict_self as RESTRICT_SELF, syscall};

use super::checked;

/// The version from which on files may be moved between directories: what is older would break the
/// completion of `rekey`.
pub(crate) const OLDEST: u32 = 2;
/// The version from which on TCP is governed.
pub(crate) const TCP: u32 = 4;
/// The version from which on signals are governed.
pub(crate) const SIGNALS: u32 = 6;

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    directory: i32,
}

/// Confines this thread, and every thread that it will start, to what lies below these
/// directories: no other file, no program, no TCP socket to be bound or connected, no signal and no
/// abstract Unix socket of a process outside, as far as this kernel's Landlock goes; the answer is its
/// version. What is open stays open. (tests/service.rs: `a_store_that_is_moved_out_of_the_sandbox_is_out_of_reach`)
pub(crate) fn confine(places: &[BorrowedFd<'_>]) -> io::Result<u32> {
    rustix::thread::set_no_new_privs(true)?;
    let version = version()?;
    if version < OLDEST {
        return Err(io::Error::other("this kernel is older than Linux 5.19"));
    }
    let attributes = ruleset(version);
    let size = size_of::<Ruleset>();
    // SAFETY: the structure and its size; the kernel takes trailing zeros for fields it does not
    // know.
    let created = unsafe { syscall(CREATE_RULESET, &raw const attributes, size, 0) };
    let rules = i32::try_from(checked(created)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let rules = unsafe { OwnedFd::from_raw_fd(rules) };
    let fd = rules.as_raw_fd();
    for directory in places {
        let rule = PathBeneath { allowed: allowed(version), directory: directory.as_raw_fd() };
        // SAFETY: two open descriptors and the structure that goes with this kind of rule.
        checked(unsafe { syscall(ADD_RULE, fd, PATH_BENEATH, &raw const rule, 0) })?;
    }
    // SAFETY: numbers only.
    checked(unsafe { syscall(RESTRICT_SELF, fd, 0) })?;
    Ok(version)
}

fn version() -> io::Result<u32> {
    // SAFETY: with this flag it takes no structure.
    let version = unsafe { syscall(CREATE_RULESET, ptr::null::<Ruleset>(), 0_usize, VERSION) };
    u32::try_from(checked(version)?).map_err(io::Error::other)
}

/// `struct landlock_ruleset_attr`: what is forbidden unless a rule allows it.
#[repr(C)]
#[derive(Debug, PartialEq, Eq)]
struct Ruleset {
    files: u64,
    tcp: u64,
    scopes: u64,
}

/// All that this version can forbid.
fn ruleset(version: u32) -> Ruleset {
    Ruleset {
        files: known(version),
        tcp: if version >= TCP { BIND | CONNECT } else { 0 },
        scopes: if version >= SIGNALS { SCOPE_SIGNAL | SCOPE_ABSTRACT } else { 0 },
    }
}

/// What a rule allows below its directory: to list it, and to read, write, make, move and remove files and
/// directories; never to run a program, to make anything else, or to talk to a device.
fn allowed(version: u32) -> u64 {
    let files = READ_FILE | WRITE_FILE | MAKE_REG | REMOVE_FILE | REFER | TRUNCATE;
    known(version) & (files | READ_DIR | MAKE_DIR | REMOVE_DIR)
}

/// The rights over files that this version knows; the list grows at its end.
fn known(version: u32) -> u64 {
    let counts = [0, 13, 14, 15, 15];
    let all = 16; // up to LANDLOCK_ACCESS_FS_IOCTL_DEV
    let count = counts.get(version as usize).unwrap_or(&all);
    (1 << count) - 1
}

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const BIND: u64 = 1 << 0;
const CONNECT: u64 = 1 << 1;
const SCOPE_ABSTRACT: u64 = 1 << 0;
const SCOPE_SIGNAL: u64 = 1 << 1;

/// `LANDLOCK_CREATE_RULESET_VERSION`
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`
const PATH_BENEATH: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTE: u64 = 1 << 0;

    #[test]
    fn nothing_is_asked_of_a_version_that_it_does_not_know() {
        let table = [
            (2, 0x3fff, 0, 0),
            (3, 0x7fff, 0, 0),
            (4, 0x7fff, 3, 0),
            (5, 0xffff, 3, 0),
            (6, 0xffff, 3, 3),
            (7, 0xffff, 3, 3),
            (99, 0xffff, 3, 3),
        ];
        for (version, files, tcp, scopes) in table {
            let expected = Ruleset { files, tcp, scopes };
            assert_eq!(ruleset(version), expected, "version {version}");
        }
    }

    #[test]
    fn no_rule_lets_a_program_run_or_allows_what_is_not_handled() {
        for version in 0..10 {
            let allowed = allowed(version);
            assert_eq!(allowed & EXECUTE, 0);
            assert_eq!(allowed & !ruleset(version).files, 0, "version {version}");
            let writes = WRITE_FILE | MAKE_REG | REMOVE_FILE;
            assert_eq!(allowed & writes, writes & known(version));
        }
    }
}
