//! Before it accepts a connection, the gateway gives up the access that it will not need.

use std::path::Path;

use crate::error::Result;
#[cfg(target_os = "linux")]
use crate::system::kernel::{landlock, seccomp};

/// Confines this thread and those that it will start to what the gateway does for as long as it runs: it
/// reads and writes the root and the keys, accepts connections, and asks its helper. Says in one line what
/// that came to. To be called once the gateway listens and before it starts a thread. What is missing
/// of the two directories is made first, because only a directory that is there can be kept.
/// (tests/sandbox.rs tries what is given up)
#[cfg(target_os = "linux")]
pub fn enter(root: &Path, keys: &Path) -> Result<String> {
    use std::os::fd::AsFd;

    use crate::base::pool;
    use crate::error::Error;
    use crate::system::fs::{self, Dir};

    // Asked here, because the sandbox has no way to what says it.
    let _ = pool::cores();
    let make = |path: &Path| {
        Dir::create(path).map_err(|error| Error::Refused {
            sentence: format!("{error}; the gateway needs it before the sandbox begins"),
            hint: format!("mkdir -p -m 700 {}", path.display()),
        })
    };
    let mut places = vec![fs::open_named(root)?.map_or_else(|| make(root), Ok)?];
    match Dir::open(keys)? {
        // It may come: the root is ours.
        None if keys.starts_with(root) => {}
        None => places.push(make(keys)?),
        Some(keys) => places.push(keys),
    }
    let handles: Vec<_> = places.iter().map(AsFd::as_fd).collect();
    let files = match landlock::confine(&handles) {
        Ok(version) => sentence(version, &places.iter().map(Dir::path).collect::<Vec<_>>()),
        Err(error) => format!("landlock: none ({error})"),
    };
    let calls = match seccomp::confine() {
        Ok(()) => "no sockets, no programs".to_owned(),
        Err(error) => format!("none ({error})"),
    };
    Ok(format!("{files}; seccomp: {calls}"))
}

/// A path that lies in the one before it is not named.
#[cfg(target_os = "linux")]
fn sentence(version: u32, paths: &[&Path]) -> String {
    let mut list = vec![paths[0].display().to_string()];
    let others = paths[1..].iter().filter(|path| !path.starts_with(paths[0]));
    list.extend(others.map(|path| path.display().to_string()));
    let from = |first, text| if version >= first { text } else { "" };
    let tcp = from(landlock::TCP, ", no other TCP");
    let signals = from(landlock::SIGNALS, ", no signals");
    let files = list.join(" and ");
    format!("landlock {version}: files below {files}; no programs{tcp}{signals}")
}

/// Says that there is none.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Path, _: &Path) -> Result<String> {
    Ok("none: only Linux has Landlock and seccomp".to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_this_version_does_and_names_a_place_once() {
        let (home, keys, mount) = (Path::new("/h/.l"), Path::new("/h/.l/keys"), Path::new("/mnt"));
        let all = "landlock 7: files below /h/.l; no programs, no other TCP, no signals";
        let table = [
            (7, vec![home], all),
            (7, vec![home, keys], all),
            (
                4,
                vec![home, mount],
                "landlock 4: files below /h/.l and /mnt; no programs, no other TCP",
            ),
            (2, vec![home], "landlock 2: files below /h/.l; no programs"),
        ];
        for (version, paths, expected) in table {
            assert_eq!(sentence(version, &paths), expected);
        }
    }
}
