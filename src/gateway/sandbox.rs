//! Before it accepts a connection, the gateway gives up the access that it will not need.

use std::path::Path;

use crate::base::pool;
use crate::system::environment::Sources;

/// Confines this thread and those that it will start to what the gateway reads and writes for as long
/// as it runs: the root, the keys, and the passphrase's file, which is read anew for every request. Says
/// in one line what that came to. To be called once the gateway listens and before it starts a thread.
/// The session bus stays in reach: Landlock leaves sockets by path alone unless it is asked not to.
pub(crate) fn enter(root: &Path, keys: &Path, sources: &Sources) -> String {
    let _ = pool::cores();
    platform::enter(root, keys, sources)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::path::{Path, PathBuf};

    use crate::system::environment::Sources;
    use crate::system::fs::{self, Dir};
    use crate::system::kernel::landlock::{self, Access};

    pub(super) fn enter(root: &Path, keys: &Path, sources: &Sources) -> String {
        // A rule needs a directory that is there. Ours is made before the user's home is opened up for it.
        let _ = Dir::create(root);
        let files = [&sources.file, &sources.credential].into_iter().flatten();
        let files = files.flat_map(|file| fs::parents(file));
        let wanted = [root, keys].map(|path| (path.to_owned(), Access::Write));
        let wanted = wanted.into_iter().chain(files.map(|path| (path, Access::Read)));
        let (mut places, mut written, mut read) = (Vec::new(), Vec::new(), Vec::new());
        for (path, access) in wanted {
            if let Ok((handle, path)) = fs::nearest(&path) {
                match access {
                    Access::Write => written.push(path),
                    Access::Read => read.push(path),
                }
                places.push((handle, access));
            }
        }
        match landlock::confine(&places) {
            Ok(version) => sentence(version, &written, &read),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                "none: this kernel has no Landlock, or one from before Linux 5.19".to_owned()
            }
            Err(error) => format!("none: the system does not allow it ({error})"),
        }
    }

    fn sentence(version: u32, written: &[PathBuf], read: &[PathBuf]) -> String {
        let is_written = |path: &&PathBuf| written.iter().any(|place| path.starts_with(place));
        let rest = read.iter().filter(|path| !is_written(path)).cloned();
        let rest = match list(&rest.collect::<Vec<_>>()) {
            rest if rest.is_empty() => rest,
            rest => format!(", to read also below {rest}"),
        };
        let from = |first, text| if version >= first { text } else { "" };
        let tcp = from(landlock::TCP, ", no other TCP");
        let signals = from(landlock::SIGNALS, ", no signals");
        let written = list(written);
        format!("landlock {version}: files below {written}{rest}; no programs{tcp}{signals}")
    }

    /// The paths, but for those that lie in one before.
    fn list(paths: &[PathBuf]) -> String {
        let mut list: Vec<String> = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            if !paths[..at].iter().any(|before| path.starts_with(before)) {
                list.push(path.display().to_string());
            }
        }
        list.join(" and ")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_sentence_says_what_this_version_does_and_names_a_place_once() {
            let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
            let (home, mount) = (paths(&["/h/.l", "/h/.l/keys"]), paths(&["/h/.l", "/mnt"]));
            let table = [
                (
                    7,
                    &home,
                    "",
                    "landlock 7: files below /h/.l; no programs, no other TCP, no signals",
                ),
                (
                    4,
                    &mount,
                    "",
                    "landlock 4: files below /h/.l and /mnt; no programs, no other TCP",
                ),
                (
                    2,
                    &home,
                    "/run/c",
                    "landlock 2: files below /h/.l, to read also below /run/c; no programs",
                ),
                (2, &home, "/h/.l/keys", "landlock 2: files below /h/.l; no programs"),
            ];
            for (version, written, read, expected) in table {
                let read: Vec<PathBuf> =
                    read.split(' ').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
                assert_eq!(sentence(version, written, &read), expected);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    pub(super) fn enter(_: &super::Path, _: &super::Path, _: &super::Sources) -> String {
        "none: it needs Landlock, which Linux has".to_owned()
    }
}
