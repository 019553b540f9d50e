//! The shape of the house: imports point one way, every door has one keeper, the tenants are few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

#[path = "architecture/tenants.rs"]
mod tenants;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room imports only rooms of earlier lines; rooms of one line do not know each other.
const ROOMS: &[&[&str]] = &[
    &["error", "kernel", "secret", "time"],
    &[
        "archive", "bucket", "crew", "dotenv", "origin", "provider", "rng", "sheet", "shell",
        "width",
    ],
    &["key"],
    &["fs"],
    &["envelope", "audit", "predecessor"],
    &["history", "keychain", "staging"],
    &["passphrase"],
    &["store"],
    &["index"],
    &["pairing"],
    &["rekey"],
    &["doctor"],
    &["gateway", "service"],
    &["host"],
    &["program"],
    &["term"],
    &["commands"],
    &["cli"],
    &["main"],
];

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
    ("signal_hook", &["host.rs"]),
    ("regex_lite", &["origin.rs"]),
    ("TcpListener::bind", &["gateway/mod.rs"]),
    ("access-control", &["gateway/guard.rs"]),
    ("Access-Control", &["gateway/guard.rs"]),
    ("Content-Security-Policy", &["gateway/page.rs"]),
    (
        "keyring_core",
        &[
            "keychain/mod.rs",
            "keychain/secret_service.rs",
            "keychain/native.rs",
        ],
    ),
    ("aes_gcm", &["envelope/mod.rs"]),
    ("scrypt::", &["envelope/mod.rs"]),
    ("getrandom::", &["rng.rs"]),
    ("humantime::", &["time.rs"]),
    ("SystemTime::now", &["time.rs"]),
    ("Instant::now", &["time.rs"]),
    ("env::var", &["host.rs"]),
    ("env::args", &["host.rs"]),
    ("io::stdin", &["host.rs"]),
    ("io::stdout", &["host.rs"]),
    ("io::stderr", &["host.rs"]),
    ("println!", &[]),
    ("rustix::fs::open", &["fs/unix.rs"]),
    ("rustix::fs::rename", &["fs/unix.rs"]),
    ("rustix::fs::unlink", &["fs/unix.rs"]),
    (
        "std::fs",
        &[
            "fs/mod.rs",
            "fs/named.rs",
            "fs/unix.rs",
            "fs/portable.rs",
            "host.rs",
        ],
    ),
    ("File::open", &["fs/named.rs"]),
    ("File::create", &[]),
    ("OpenOptions", &["fs/portable.rs"]),
    ("fs::write(", &[]),
    (
        "rustix::net",
        &[
            "keychain/dbus.rs",
            "gateway/rtnetlink.rs",
            "kernel/inherit.rs",
        ],
    ),
    ("rustix::process", &["fs/unix.rs", "host.rs"]),
    ("termios", &["term.rs"]),
    (
        "unsafe ",
        &[
            "kernel/memory.rs",
            "kernel/landlock.rs",
            "kernel/inherit.rs",
        ],
    ),
    ("memfd_create", &["program.rs"]),
    ("process::Command", &["program.rs", "service/manager.rs"]),
    ("UnixDatagram", &["service/notify.rs"]),
    ("libc::", &["kernel/landlock.rs"]),
    ("process::exit", &["program.rs"]),
];

/// Normal and build dependencies on Linux, ours not counted; the most that there may ever be is 55.
const MOST_CRATES: usize = 51;

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// Rust's files below a directory of ours, each with its path there.
fn files(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let (mut files, mut paths) = (Vec::new(), vec![root.clone()]);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
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

fn room(path: &Path) -> String {
    path.iter()
        .next()
        .unwrap()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

fn floor(room: &str) -> usize {
    ROOMS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("the room {room} has no place in this test"))
}

/// The rooms that a line of code names.
fn named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
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
                rooms.push(name.to_owned());
            }
        }
    }
    rooms
}

#[test]
fn a_room_imports_only_rooms_above_it() {
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let room = room(&path);
        if room == "lib" {
            continue;
        }
        seen.insert(room.clone());
        for line in code(&text) {
            for other in named(line) {
                let is_fine = other == room || floor(&other) < floor(&room);
                assert!(is_fine, "{} imports {other}: {line}", path.display());
            }
        }
    }
    let known: BTreeSet<String> = ROOMS
        .iter()
        .flat_map(|rooms| rooms.iter().map(|room| (*room).to_owned()))
        .collect();
    assert_eq!(seen, known, "the rooms of this test and of src/");
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
        assert!(
            text.starts_with("//! "),
            "{} does not begin with its job",
            path.display()
        );
        let lines = code(&text).count();
        assert!(
            lines <= 500,
            "{} has {lines} lines of code; it may be two rooms",
            path.display()
        );
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
    for line in manifest
        .lines()
        .filter(|line| line.contains("version = \"") && line.contains('{'))
    {
        assert!(line.contains("} # "), "no reason given: {line}");
        assert!(
            line.contains("default-features = false"),
            "default features are off: {line}"
        );
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
