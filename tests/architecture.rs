//! The shape of the house: imports point one way and in no circle, every door has one keeper, there is
//! little to read, the tenants are few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/lines.rs"]
mod lines;
#[path = "architecture/phrases.rs"]
mod phrases;
#[path = "architecture/tenants.rs"]
mod tenants;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder imports only folders that stand before it.
const FOLDERS: &[&str] =
    &["error", "base", "system", "keychain", "vault", "gateway", "cloud", "cli", "lib", "main"];

/// What only these files may say.
const DOORS: &[(&str, &[&str])] = &[
    ("pico_args", &["cli/args.rs"]),
    (
        "tiny_http::",
        &[
            "gateway/http.rs",
            "gateway/http/request.rs",
            "gateway/http/reply.rs",
            "gateway/guard.rs",
        ],
    ),
    ("regex_lite", &["base/paste.rs", "gateway/origin.rs"]),
    ("TcpListener::bind", &["gateway/server.rs"]),
    ("TcpStream::connect", &["gateway/probe.rs", "cloud/post.rs"]),
    ("\"curl\"", &["cloud/post.rs"]),
    ("UdpSocket::bind", &["gateway/consent.rs"]),
    ("access-control", &["gateway/guard.rs"]),
    ("Access-Control", &["gateway/guard.rs"]),
    ("Content-Security-Policy", &["gateway/page.rs"]),
    ("keyring_core", &["keychain/mod.rs", "keychain/secret_service.rs", "keychain/native.rs"]),
    ("aes_gcm", &["vault/envelope/mod.rs"]),
    ("scrypt::", &["vault/envelope/mod.rs"]),
    ("getrandom::", &["base/rng.rs"]),
    ("humantime::", &["base/time.rs"]),
    ("SystemTime::now", &["base/time.rs"]),
    ("Instant::now", &["base/time.rs"]),
    ("env::var", &["system/environment.rs"]),
    ("env::args", &["system/host.rs"]),
    ("io::stdin", &["system/host.rs"]),
    ("io::stdout", &["system/host.rs"]),
    ("io::stderr", &["system/host.rs"]),
    ("println!", &[]),
    ("rustix::fs::open", &["system/fs/unix.rs"]),
    ("rustix::fs::rename", &["system/fs/unix.rs"]),
    ("rustix::fs::unlink", &["system/fs/unix.rs"]),
    (
        "std::fs",
        &[
            "system/fs/mod.rs",
            "system/fs/named.rs",
            "system/fs/unix.rs",
            "system/fs/portable.rs",
            "system/host.rs",
            "system/kernel/acl.rs",
            "system/kernel/console.rs",
            "system/kernel/terminal.rs",
        ],
    ),
    ("File::open", &["system/fs/named.rs", "system/host.rs"]),
    ("File::create", &[]),
    ("OpenOptions", &["system/fs/portable.rs"]),
    ("fs::write(", &[]),
    (
        "rustix::net",
        &["gateway/server.rs", "keychain/dbus.rs", "system/kernel/inherit.rs", "system/stream.rs"],
    ),
    ("rustix::process", &["system/fs/unix.rs", "system/host.rs"]),
    ("termios", &["system/term.rs", "system/kernel/terminal.rs"]),
    (
        "unsafe ",
        &[
            "system/kernel/acl.rs",
            "system/kernel/console.rs",
            "system/kernel/windows.rs",
            "system/kernel/winsock.rs",
            "system/kernel/clock.rs",
            "system/kernel/memory.rs",
            "system/kernel/landlock.rs",
            "system/kernel/seccomp.rs",
            "system/kernel/fork.rs",
            "system/kernel/inherit.rs",
            "system/kernel/signal.rs",
            "system/kernel/terminal.rs",
            "system/kernel/trace.rs",
        ],
    ),
    (
        "windows_sys",
        &[
            "system/fs/portable.rs",
            "system/kernel/acl.rs",
            "system/kernel/console.rs",
            "system/kernel/windows.rs",
            "system/kernel/winsock.rs",
        ],
    ),
    ("memfd_create", &["system/program.rs"]),
    ("process::{Command", &["system/program.rs", "system/service/mod.rs"]),
    ("process::Command", &["system/program.rs"]),
    ("UnixDatagram", &["system/service/notify.rs"]),
    (
        "libc::",
        &[
            "system/kernel/clock.rs",
            "system/kernel/memory.rs",
            "system/kernel/landlock.rs",
            "system/kernel/seccomp.rs",
            "system/kernel/fork.rs",
            "system/kernel/inherit.rs",
            "system/kernel/signal.rs",
            "system/kernel/terminal.rs",
            "system/kernel/trace.rs",
        ],
    ),
    ("process::exit", &["system/program.rs"]),
];

/// Normal and build dependencies on Linux, ours not counted; the most that there may ever be is 55.
const MOST_CRATES: usize = 48;

/// The program's own files: not those named tests.rs, which are no part of it.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = files("src");
    files.retain(|(path, _)| !path.ends_with("tests.rs"));
    files
}

/// Rust's files below a directory of ours, each with its path there.
fn files(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let (mut files, mut paths) = (Vec::new(), vec![root.clone()]);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
        }
    }
    files
}

/// The code of a file: neither comments nor the tests at its foot.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]" && *line != "mod tests {")
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn folder(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn place(folder: &str) -> usize {
    let place = FOLDERS.iter().position(|known| *known == folder);
    place.unwrap_or_else(|| panic!("the folder {folder} has no place in this test"))
}

/// The folders that a line of code names.
fn named(line: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for root in ["crate::", "local_keys::"] {
        for (at, _) in line.match_indices(root) {
            let rest = &line[at + root.len()..];
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let list = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap(),
                None => rest.split(|c| !is_name(c)).next().unwrap(),
            };
            for part in list.split(',') {
                let name = part.trim().split(|c| !is_name(c)).next().unwrap();
                folders.push(name.to_owned());
            }
        }
    }
    folders
}

#[test]
fn a_folder_imports_only_folders_before_it() {
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let folder = folder(&path);
        seen.insert(folder.clone());
        if folder == "lib" || folder == "main" {
            continue;
        }
        for line in code(&text) {
            for other in named(line) {
                let is_fine = other == folder || place(&other) < place(&folder);
                assert!(is_fine, "{} imports {other}: {line}", path.display());
            }
        }
    }
    let known: BTreeSet<String> = FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    assert_eq!(seen, known, "the folders of this test and of src/");
}

#[test]
fn what_is_in_one_folder_uses_each_other_one_way() {
    let sources = sources();
    let text = |text: &str| -> String { code(text).map(|line| format!("{line}\n")).collect() };
    let files: Vec<_> = sources.iter().map(|(path, all)| (path.as_path(), text(all))).collect();
    let graph = circles::Graph::new(&files);
    assert_eq!(graph.circle(), None);
}

#[test]
fn there_is_little_to_read() {
    let mut count = lines::Count::default();
    for (path, text) in sources() {
        count.add(&path, &text);
    }
    println!("{}", count.table());
    assert!(count.total() <= lines::MOST, "{}", count.table());
    assert!(count.trusted <= lines::MOST_TRUSTED, "{}", count.table());
}

#[test]
fn every_door_has_one_keeper() {
    let sources = sources();
    for (path, text) in &sources {
        for line in code(text) {
            for (door, keepers) in DOORS {
                let is_fine =
                    !line.contains(door) || keepers.iter().any(|keeper| path == Path::new(keeper));
                assert!(is_fine, "{} uses {door}: {line}", path.display());
            }
        }
    }
    for (door, keepers) in DOORS {
        for keeper in *keepers {
            let (_, text) = sources
                .iter()
                .find(|(path, _)| path == Path::new(keeper))
                .unwrap_or_else(|| panic!("{keeper} is gone"));
            assert!(text.contains(door), "{keeper} no longer keeps {door}");
        }
    }
}

#[test]
fn every_file_says_its_job_and_stays_small() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not begin with its job", path.display());
        let lines = code(&text).count();
        assert!(lines <= 500, "{} has {lines} lines of code; it may be two rooms", path.display());
    }
}

#[test]
fn the_tenants_are_few_and_each_says_why_it_is_here() {
    let linux = tenants::graph("x86_64-unknown-linux-musl").unwrap();
    println!("{}", tenants::register(&linux));
    let mut faults = tenants::faults(&linux, MOST_CRATES);
    for other in ["aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
        let Ok(mut more) = tenants::graph(other) else {
            println!("{other}: more crates, which cargo fetch --locked brings\n");
            continue;
        };
        faults.extend(tenants::faults(&more, more.len()));
        more.retain(|tenant| linux.iter().all(|known| known.name != tenant.name));
        println!("{other}, beside these:\n{}", tenants::register(&more));
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");

    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for line in manifest.lines().filter(|line| line.contains("version = \"") && line.contains('{'))
    {
        assert!(line.contains("} # "), "no reason given: {line}");
        assert!(line.contains("default-features = false"), "default features are off: {line}");
    }
}

#[test]
fn no_test_is_skipped() {
    let this = Path::new("architecture.rs");
    for (path, text) in sources().into_iter().chain(files("tests")) {
        let is_skipped = text.contains("#[ignore") && path != this;
        assert!(!is_skipped, "{} skips a test", path.display());
    }
}
