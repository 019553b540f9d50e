//! seccomp (Linux): the system calls that this process may still make, given up for good by itself.
//!
//! It is a list of what is allowed. Everything else is answered with ENOSYS, as by a kernel that does not
//! have the call: where a C library has a newer way and an older one, it takes the one that is here. So a
//! list of what the two C libraries and rustix need stays complete, and what a later kernel brings is
//! refused. (tests/sandbox.rs tries both sides of it.)
//!
//! Sources: the kernel's "Seccomp BPF", `linux/seccomp.h`, `linux/audit.h`, and `strace` of the tests.

use std::io;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{c_long, c_ulong, sock_filter, sock_fprog};

use super::checked;

/// Confines this thread, and every thread that it will start, to the calls that serving takes: no
/// program, no process, no socket but those that are open or accepted, no mode by path, no other
/// process's memory, no code that was not there at the start. Takes `PR_SET_NO_NEW_PRIVS`.
pub(crate) fn confine() -> io::Result<()> {
    let mut program = program().ok_or(io::ErrorKind::Unsupported)?;
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
    let mode: c_ulong = libc::SECCOMP_MODE_FILTER.into();
    // SAFETY: the program and its length, which the kernel checks and copies before it returns.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0) };
    checked(set).map(drop)
}

/// `None` for a processor whose calls nobody has looked at.
fn program() -> Option<Vec<sock_filter>> {
    let allow = step(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW);
    let refuse = step(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    // A call by the numbers of another processor, such as i386's on x86_64, is refused.
    let mut program = vec![load(ARCH), jump(PROCESSOR.0?, 1, 0), refuse, load(NUMBER)];
    for call in ALLOWED.iter().chain(PROCESSOR.1) {
        program.extend([jump(number(*call), 0, 1), allow]);
    }
    for (call, conditions) in CONDITIONAL {
        let mut steps = Vec::new();
        for (word, mask, values) in *conditions {
            steps.extend([load(ARGUMENTS + 4 * word), step(BPF_ALU | BPF_AND | BPF_K, *mask)]);
            let values = (1..=values.len() as u8).rev().zip(*values);
            steps.extend(values.map(|(to_next, value)| jump(*value, to_next, 0)));
            steps.push(refuse);
        }
        steps.push(allow);
        program.push(jump(number(*call), 0, steps.len() as u8));
        program.extend(steps);
    }
    program.push(refuse);
    Some(program)
}

fn step(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Loads a word of `struct seccomp_data`.
fn load(offset: u32) -> sock_filter {
    step(BPF_LD | BPF_W | BPF_ABS, offset)
}

/// Skips so many steps where the word that was loaded is `k`, and so many where it is not.
fn jump(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { jt, jf, ..step(BPF_JMP | BPF_JEQ | BPF_K, k) }
}

fn number(call: c_long) -> u32 {
    call as u32
}

macro_rules! calls {
    ($($name:ident)* $(; $($number:literal)*)?) => { &[$(libc::$name,)* $($($number),*)?] };
}

/// What is allowed with any arguments, as far as the file system and Landlock let it: memory, threads,
/// signals to itself and time; what is open, and the store; connections.
const ALLOWED: &[c_long] = calls! {
    SYS_brk SYS_munmap SYS_mremap SYS_madvise SYS_futex SYS_set_robust_list SYS_set_tid_address
    SYS_sched_getaffinity SYS_sched_yield SYS_gettid SYS_getpid SYS_geteuid SYS_exit
    SYS_exit_group SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack
    SYS_restart_syscall SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_getrandom

    SYS_read SYS_write SYS_close SYS_lseek SYS_fstat SYS_statx SYS_openat SYS_readlinkat
    SYS_getcwd SYS_getdents64 SYS_flock SYS_fchmod SYS_fchown SYS_ftruncate SYS_fsync
    SYS_fdatasync SYS_mkdirat SYS_renameat SYS_renameat2 SYS_linkat SYS_unlinkat

    SYS_ppoll SYS_accept4 SYS_recvfrom SYS_shutdown SYS_getsockname SYS_getpeername
    SYS_getsockopt
};

/// What is allowed if each of these words of its arguments, under a mask, has one of these values. An
/// argument is two words, the lower one first.
const CONDITIONAL: &[(c_long, &[Condition])] = &[
    // A thread, which shares everything. clone3 has its flags where no filter can see them; the C libraries
    // go on with clone.
    (libc::SYS_clone, &[(0, THREAD | NAMESPACES, &[THREAD])]),
    (MMAP, &[(4, libc::PROT_EXEC as u32, &[0])]),
    (libc::SYS_mprotect, &[(4, libc::PROT_EXEC as u32, &[0])]),
    // Never to become owner of a file's signals.
    (FCNTL, &[(2, !0, &[1, 2, 3, 4, libc::F_DUPFD_CLOEXEC as u32])]),
    (libc::SYS_ioctl, &[(2, !0, &[libc::FIONBIO as u32])]),
    // To where the socket is connected. A listener that was shut down could else connect with MSG_FASTOPEN.
    (libc::SYS_sendto, &[(6, !(libc::MSG_NOSIGNAL as u32), &[0]), (8, !0, &[0]), (9, !0, &[0])]),
    // SO_RCVTIMEO and SO_SNDTIMEO in both forms, TCP_NODELAY
    (libc::SYS_setsockopt, &[(2, !0, &[1, 6]), (4, !0, &[1, 20, 21, 66, 67])]),
];
type Condition = (u32, u32, &'static [u32]);
const THREAD: u32 = libc::CLONE_THREAD as u32;
const NAMESPACES: u32 = 0x7e02_0000;

/// `AUDIT_ARCH_*`, if the calls of this processor are known, and those that others do not have. By number
/// what the libc crate has no name for: rseq; and with 64-bit time, where the processor has 32 bits,
/// clock_gettime, clock_nanosleep, ppoll and futex.
#[cfg(target_arch = "x86_64")]
const PROCESSOR: (Option<u32>, &[c_long]) =
    (Some(0xc000_003e), calls! { SYS_open SYS_newfstatat SYS_readlink SYS_poll; 334 });
#[cfg(target_arch = "aarch64")]
const PROCESSOR: (Option<u32>, &[c_long]) = (Some(0xc000_00b7), calls! { SYS_newfstatat; 293 });
#[cfg(target_arch = "arm")]
const PROCESSOR: (Option<u32>, &[c_long]) = (
    Some(0x4000_0028),
    calls! {
        SYS_open SYS__llseek SYS_fstat64 SYS_fstatat64 SYS_ftruncate64 SYS_fchown32 SYS_geteuid32
        SYS_readlink SYS_poll SYS_recv; 398 403 407 414 422
    },
);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const PROCESSOR: (Option<u32>, &[c_long]) = (None, &[]);

#[cfg(target_pointer_width = "64")]
use libc::{SYS_fcntl as FCNTL, SYS_mmap as MMAP};
#[cfg(target_pointer_width = "32")]
use libc::{SYS_fcntl64 as FCNTL, SYS_mmap2 as MMAP};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program comes to for a call of this number by this processor's, with these words.
    fn verdict(architecture: u32, number: u32, arguments: [u32; 12]) -> u32 {
        let program = program().unwrap();
        let mut data = vec![number, architecture, 0, 0];
        data.extend(arguments);
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) & 7 {
                BPF_LD => word = data[k as usize / 4],
                BPF_ALU => word &= k,
                BPF_JMP => at += usize::from(if word == k { jt } else { jf }),
                _ => return k,
            }
        }
    }

    #[test]
    fn a_call_passes_by_its_number_and_by_every_word_that_matters() {
        let own = PROCESSOR.0.unwrap();
        let (yes, no) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        let words = |given: &[(usize, u32)]| {
            let mut words = [0; 12];
            given.iter().for_each(|(at, word)| words[*at] = *word);
            words
        };
        let (clone, send) = (number(libc::SYS_clone), number(libc::SYS_sendto));
        let (ioctl, option) = (number(libc::SYS_ioctl), number(libc::SYS_setsockopt));
        let (quiet, open) = (libc::MSG_NOSIGNAL as u32, libc::MSG_FASTOPEN as u32);
        let table = [
            (own, number(libc::SYS_read), words(&[(0, 7), (11, 7)]), yes),
            (own ^ 1, number(libc::SYS_read), words(&[]), no),
            (0x4000_0003, 3, words(&[]), no), // read on i386
            (own, number(libc::SYS_read) | 0x4000_0000, words(&[]), no), // x32
            (own, number(libc::SYS_execve), words(&[]), no),
            (own, u32::MAX, words(&[]), no),
            (own, clone, words(&[(0, 0x003d_0f00)]), yes), // glibc's
            (own, clone, words(&[(0, 0x007d_0f00)]), yes), // musl's
            (own, clone, words(&[(0, 17)]), no),
            (own, clone, words(&[(0, 0x003d_0f00 | libc::CLONE_NEWNET as u32)]), no),
            (own, send, words(&[(6, quiet), (4, 9)]), yes),
            (own, send, words(&[(6, quiet | open)]), no),
            (own, send, words(&[(8, 1)]), no),
            (own, send, words(&[(9, 1)]), no),
            (own, ioctl, words(&[(2, libc::FIONBIO as u32)]), yes),
            (own, ioctl, words(&[(2, libc::TIOCSTI as u32)]), no),
            (own, option, words(&[(2, 6), (4, 1)]), yes),
            (own, option, words(&[(2, 1), (4, 20)]), yes),
            (own, option, words(&[(2, 1), (4, 26)]), no),
            (own, option, words(&[(2, 0), (4, 1)]), no),
        ];
        for (architecture, number, arguments, expected) in table {
            let case = format!("{architecture:x} {number:x} {arguments:?}");
            assert_eq!(verdict(architecture, number, arguments), expected, "{case}");
        }
    }
}
