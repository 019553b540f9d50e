//! The helper of a gateway: the process that can reach the keychain and the other sources of the master
//! passphrase, so that the process which hears the network need not.
//!
//! The two share [`CHANNELS`] pairs of sockets. On each the gateway writes one question at a time, and
//! the helper one answer; what may be asked is up to its caller. A message is its length (4 bytes,
//! little-endian) and so many bytes of text. One more pair ends each process with the other: the system
//! closes one side of it with its process, and the other side comes to its end.
//! (tests/sandbox.rs: `the_gateway_and_its_helper_end_together`)

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::{lock::lock, secret::Secret};
use crate::error::{Error, Result};
#[cfg(target_os = "linux")]
use crate::system::kernel::{fork, signal};

/// What answers a question, which is a list of words.
pub(crate) type Answer = dyn Fn(&[&str]) -> Result<Option<Secret>> + Send + Sync;

/// The helper, as the gateway has it.
pub(crate) struct Helper {
    free: Mutex<Vec<UnixStream>>,
    changed: Condvar,
    /// Comes to its end with the helper.
    pub(crate) life: UnixStream,
}

impl Helper {
    /// Starts the helper, before this process has a second thread. `None` in the new process, once the
    /// gateway has ended; that one first lets go of what is the gateway's alone. Where there is no sandbox
    /// to stay out of, threads of this process are the helper.
    pub(crate) fn start(
        answer: &Arc<Answer>,
        let_go: impl FnOnce(),
    ) -> io::Result<Option<Arc<Helper>>> {
        let (mut free, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..CHANNELS {
            let (one, other) = UnixStream::pair()?;
            free.push(one);
            theirs.push(other);
        }
        let (life, end) = UnixStream::pair()?;
        #[cfg(target_os = "linux")]
        if fork::fork()? {
            drop((free, life));
            let_go();
            // The gateway is asked to end as well, and needs the helper until it has.
            signal::ignore_end()?;
            serve(theirs, answer)?;
            (&end).write_all(&[0])?;
            let _ = (&end).read(&mut [0]);
            return Ok(None);
        }
        #[cfg(target_os = "linux")]
        drop(end);
        #[cfg(not(target_os = "linux"))]
        {
            serve(theirs, answer).and_then(|()| (&end).write_all(&[0]))?;
            std::mem::forget((let_go, end));
        }
        // It is ready, or a signal might come before it ignores that.
        (&life).read_exact(&mut [0])?;
        let (free, changed) = (Mutex::new(free), Condvar::new());
        Ok(Some(Arc::new(Helper { free, changed, life })))
    }

    /// One whose answers are a test's.
    #[cfg(test)]
    pub(crate) fn of(answer: &Arc<Answer>) -> Arc<Helper> {
        let pairs = (0..CHANNELS).map(|_| UnixStream::pair().unwrap());
        let (free, theirs) = pairs.unzip::<_, _, Vec<_>, Vec<_>>();
        serve(theirs, answer).unwrap();
        let (free, changed) = (Mutex::new(free), Condvar::new());
        Arc::new(Helper { free, changed, life: UnixStream::pair().unwrap().0 })
    }

    /// What the helper answers.
    pub(crate) fn ask(&self, question: &[&str]) -> Result<Option<Secret>> {
        let failed = |why: &str| Error::KeychainUnavailable(format!("the gateway's helper {why}"));
        let free = lock(&self.free);
        let waited = self.changed.wait_timeout_while(free, PATIENCE, |free| free.is_empty());
        let channel = waited.unwrap_or_else(PoisonError::into_inner).0.pop();
        let mut channel = channel.ok_or_else(|| failed("is busy"))?;
        let asked = send(&mut channel, &question.join("\0"));
        let answer = asked.and_then(|()| receive(&mut channel)).map_err(|_| failed("has ended"))?;
        lock(&self.free).push(channel);
        self.changed.notify_one();
        match answer.split_once('\0') {
            None => Ok(None),
            Some(("", secret)) => Ok(Some(Secret::new(secret.to_owned()))),
            Some((code, sentence)) => Err(Error::Reported(code.to_owned(), sentence.to_owned())),
        }
    }

    /// Has it ended?
    pub(crate) fn is_over(&self) -> bool {
        (&self.life).write(&[0]).is_err()
    }
}

/// Answers on each of these channels until it is closed, with one thread for each.
fn serve(channels: Vec<UnixStream>, answer: &Arc<Answer>) -> io::Result<()> {
    for mut channel in channels {
        let answer = Arc::clone(answer);
        let serve = move || {
            while let Ok(question) = receive(&mut channel)
                && let answer = answer(&question.split('\0').collect::<Vec<_>>())
                && send(&mut channel, &print(answer)).is_ok()
            {}
        };
        thread::Builder::new().spawn(serve)?;
    }
    Ok(())
}

/// An answer: nothing; or a NUL and a secret; or an error's code, a NUL and its sentence.
fn print(answer: Result<Option<Secret>>) -> Zeroizing<String> {
    Zeroizing::new(match answer {
        Ok(None) => String::new(),
        Ok(Some(secret)) => ["\0", secret.expose()].concat(),
        Err(error) => format!("{}\0{error}", error.code()),
    })
}

fn send(channel: &mut UnixStream, text: &str) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    channel.write_all(&length.to_le_bytes())?;
    channel.write_all(text.as_bytes())
}

fn receive(channel: &mut UnixStream) -> io::Result<Zeroizing<String>> {
    let mut length = [0; 4];
    channel.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    // Of its final size from the start: growing it would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(length.min(MAX) as usize));
    channel.take(length.min(MAX)).read_to_string(&mut text)?;
    let is_whole = text.len() as u64 == length;
    is_whole.then_some(text).ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// So many questions at a time. More than a keychain answers: one that hangs keeps each for three seconds.
const CHANNELS: usize = 16;
/// How long a question waits for a free channel.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of a message, as of one on the session bus.
const MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_through_whole_or_not_at_all() {
        let secret = |length| Ok(Some(Secret::new("x".repeat(length))));
        let answer: Arc<Answer> = Arc::new(move |question: &[&str]| match question {
            ["nothing"] => Ok(None),
            ["large", "est"] => secret(1024 * 1024 - 1),
            ["too large"] => secret(1024 * 1024),
            _ => Err(Error::KeychainUnavailable("it fails".to_owned())),
        });
        let helper = Helper::of(&answer);
        let ask = |question: &[&str]| {
            let answer = helper.ask(question);
            answer.map(|secret| secret.map(|it| it.expose().len())).map_err(|error| error.code())
        };
        for _ in 0..2 {
            assert_eq!(ask(&["nothing"]), Ok(None));
            assert_eq!(ask(&["large", "est"]), Ok(Some(1_048_575)));
            assert_eq!(ask(&["large"]), Err("keychain_unavailable"));
            assert!(ask(&["too large"]).is_err());
        }
    }
}
