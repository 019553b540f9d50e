//! File systems as people have them: exFAT, NTFS and encfs over FUSE, disks without room, programs
//! that synchronise, root in a user's directory. Where no machine of ours has it, the failing call
//! is injected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::gateway::Gateway;
use support::{Home, VALUE, chmod, list, package_of};

/// A file system under `.lenserfight` of a home, until this is dropped; and its loop device.
struct Mount {
    at: PathBuf,
    device: Option<String>,
}

impl Mount {
    /// A directory for it, which is the root of lf's files.
    fn place(home: &Home) -> PathBuf {
        let at = home.path().join(".lenserfight");
        fs::create_dir(&at).unwrap();
        at
    }

    /// exFAT, which has neither links, modes nor owners, and no exclusive rename.
    fn exfat(home: &Home) -> Mount {
        let (image, at) = (image(home, 32), Mount::place(home));
        does("mkfs.exfat", &[image.as_os_str()]);
        let attached =
            output("losetup", &["--find".as_ref(), "--show".as_ref(), image.as_os_str()]);
        let device = Some(attached.trim_end().to_owned());
        let mount = Mount { at, device };
        let device = mount.device.as_deref().unwrap();
        does(
            "mount.exfat-fuse",
            &["-o".as_ref(), "umask=0022".as_ref(), device.as_ref(), mount.at.as_ref()],
        );
        mount
    }

    /// NTFS whose names are found in any letters, and are given back in small ones.
    fn ntfs(home: &Home) -> Mount {
        let (image, at) = (image(home, 8), Mount::place(home));
        does("mkfs.ntfs", &["-F".as_ref(), "-q".as_ref(), image.as_os_str()]);
        let mount = Mount { at, device: None };
        does(
            "lowntfs-3g",
            &["-o".as_ref(), "ignore_case".as_ref(), image.as_os_str(), mount.at.as_ref()],
        );
        mount
    }

    /// An encrypted directory of encfs, whose safest kind has neither links nor an exclusive
    /// rename.
    fn encfs(home: &Home) -> Mount {
        let (raw, at) = (home.path().join("raw"), Mount::place(home));
        fs::create_dir(&raw).unwrap();
        let mount = Mount { at, device: None };
        let arguments =
            ["--stdinpass".as_ref(), "--paranoia".as_ref(), raw.as_os_str(), mount.at.as_ref()];
        let mut encfs = command("encfs", &arguments).stdin(Stdio::piped()).spawn().expect("encfs");
        encfs.stdin.take().unwrap().write_all(b"password\n").unwrap();
        assert!(encfs.wait().unwrap().success());
        mount
    }

    /// A file system in memory with room for so many files.
    fn tmpfs(home: &Home, files: u32) -> Mount {
        let mount = Mount { at: Mount::place(home), device: None };
        let options = format!("nr_inodes={files},mode=700");
        let arguments = ["-t", "tmpfs", "-o", &options, "none"].map(OsStr::new);
        does("mount", &[&arguments[..], &[mount.at.as_ref()]].concat());
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = command("umount", &["--lazy".as_ref(), self.at.as_ref()]).status();
        if let Some(device) = &self.device {
            let _ = command("losetup", &["--detach".as_ref(), device.as_ref()]).status();
        }
        assert!(std::thread::panicking() || unmounted.unwrap().success());
    }
}

fn image(home: &Home, megabytes: u64) -> PathBuf {
    let path = home.path().join("image");
    fs::File::create(&path).unwrap().set_len(megabytes << 20).unwrap();
    path
}

fn command(program: &str, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn does(program: &str, arguments: &[&OsStr]) {
    let status = command(program, arguments).status();
    let status = status.unwrap_or_else(|_| panic!("{program}; {}", package_of(program.as_ref())));
    assert!(status.success(), "{program} {arguments:?}");
}

fn output(program: &str, arguments: &[&OsStr]) -> String {
    let output = command(program, arguments).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An id with each letter's case swapped.
fn swapped(id: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    };
    id.chars().map(swap).collect()
}

#[test]
fn where_there_is_neither_exclusive_rename_nor_link_keys_are_still_added() {
    for mount in support::rows([Mount::exfat, Mount::encfs]) {
        let home = Home::new();
        let mount = mount(&home);
        let id = home.add("openai", "Prod", VALUE);
        let linked = fs::hard_link(home.file(&id), home.keys().join("link"));
        assert!(linked.is_err(), "it has links, so it shows nothing");
        home.lf(&format!("keys rotate -- {id}")).ok();
        home.lf("keys rotate --new-value Prod").input("newer").ok();
        home.lf("keys rekey --passphrase-stdin").input("another long passphrase").ok();
        home.lf("keys rekey --undo").ok();
        home.lf("gateway pair").ok();
        assert_eq!(home.value(&id), "newer");
        assert_eq!(home.names(), [format!("{id}.json")]);
        home.lf("keys remove --yes Prod").ok();
        assert!(home.names().is_empty());
        drop(mount);
    }
}

#[test]
fn a_key_that_another_program_puts_there_first_is_not_replaced_on_encfs() {
    let home = Home::new();
    let _mount = Mount::encfs(&home);
    let id = home.add("openai", "Prod", VALUE);
    let copy = home.copy();
    home.lf("keys remove --yes Prod").ok();
    let log = home.path().join("strace.log");
    let restore = home.lf(&format!("keys restore {}", copy.display()));
    let core = &support::cores()[0];
    let stopped =
        restore.stop(core, &log, "renameat2:signal=SIGSTOP").map_err(|end| end.to_string());
    fs::write(home.file(&id), "another program's").unwrap();
    let refused = stopped.unwrap().goes_on();
    assert!(refused.err.contains("duplicate_key"), "{refused}");
    assert_eq!(fs::read(home.file(&id)).unwrap(), b"another program's");
}

#[test]
fn killed_before_its_rename_a_new_key_leaves_a_temporary_file_alone_on_encfs() {
    let home = Home::new();
    let _mount = Mount::encfs(&home);
    home.add("openai", "Prod", VALUE);
    let add = || home.lf("keys add --provider openai").input("v");
    add().inject("renameat:signal=SIGKILL").go();
    assert_eq!(home.names().iter().filter(|name| name.ends_with(".json")).count(), 1);
    add().ok();
    home.lf("keys doctor --fix").ok();
    assert_eq!(home.names().len(), 2);
}

// Seccomp filters that do not know a call answer with EPERM (old Docker, old systemd) or ENOSYS.
#[test]
fn a_sandbox_that_refuses_renameat2_and_links_is_no_reason_not_to_add() {
    for error in ["EPERM", "ENOSYS"] {
        let home = Home::new();
        let faults = ["renameat2", "linkat"].map(|call| format!("{call}:error={error}"));
        let add = home.lf("keys add --provider openai").input(VALUE);
        let added = add.inject_all(Path::new("/dev/null"), &faults).ok();
        assert_eq!(home.value(added.out.trim_end()), VALUE);
        assert_eq!(home.names().len(), 1);
    }
}

// NFS without lockd answers ENOLCK, 9p and seccomp filters ENOSYS.
#[test]
fn without_locks_keys_can_be_read_and_it_is_said_what_cannot_be_done() {
    let (home, id) = Home::with_key();
    for error in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"] {
        let fault = format!("flock:error={error}");
        for command in ["keys add --provider openai", "keys rotate Prod", "keys remove --yes Prod"]
        {
            let refused = home.lf(command).fed("v").inject(&fault).fails(2, "refused");
            assert!(
                refused.err.contains("cannot lock it") && refused.err.contains("local disk"),
                "{refused}"
            );
        }
        assert!(home.lf("keys list").inject(&fault).ok().out.contains(&id));
        let exported = home.lf("keys export Prod --i-understand").inject(&fault).ok();
        assert_eq!(exported.out, format!("{VALUE}\n"));
        let found = home.lf("keys doctor").inject(&fault).fails(3, "checks_failed");
        assert!(found.out.contains("FAIL  writable: lf can store nothing"), "{found}");
    }
}

// CIFS and VirtualBox's folders sync no directory (EINVAL); SMB on macOS answers ENOTSUP, other disks there ENOTTY.
#[test]
fn what_cannot_be_synced_is_said_by_the_doctor_and_stops_no_command() {
    for error in support::rows(["EINVAL", "EOPNOTSUPP", "ENOTTY"]) {
        let home = Home::new();
        let fault = format!("fsync:error={error}");
        let run = |command: &str| home.lf(command).input(VALUE).inject(&fault);
        let id = run("keys add --provider openai --label Prod").ok().out.trim_end().to_owned();
        run("keys rotate --new-value Prod").ok();
        run("keys rekey --passphrase-stdin").ok();
        let with_new = |command: &str| {
            home.bare(command).env("LENSERFIGHT_KEYS_PASSPHRASE", VALUE).inject(&fault)
        };
        let exported = with_new("keys export Prod --i-understand").ok();
        assert_eq!(exported.out, format!("{VALUE}\n"));
        assert_eq!(home.names(), [format!("{id}.json")], "the rekey is finished");
        let said = with_new("keys doctor").ok();
        assert_eq!(said.out.matches("cannot sync").count(), 1, "{said}");
    }
}

#[test]
fn a_disk_that_fails_to_sync_the_directory_is_an_error() {
    let (home, _) = Home::with_key();
    for error in ["EIO", "ENOSPC"] {
        // The first is the new file's.
        let fault = format!("fsync:error={error}:when=2");
        let failed = home.lf("keys rotate Prod").inject(&fault).fails(1, "io_error");
        assert!(failed.err.contains("power cut"), "{failed}");
    }
}

#[test]
fn an_id_in_other_letters_is_no_key() {
    let home = Home::new();
    let _mount = Mount::ntfs(&home);
    let id = home.add("openai", "Prod", VALUE);
    let other = swapped(&id);
    assert!(home.file(&other).exists(), "case matters there, so it shows nothing");
    for command in [
        "remove --yes",
        "rotate",
        "rotate --new-value",
        "update --rotate",
        "update --label New",
        "export --i-understand",
        "run --key",
    ] {
        let end = if command == "run --key" {
            format!("={other} -- true")
        } else {
            format!(" -- {other}")
        };
        home.lf(&format!("keys {command}{end}")).fed("v").fails(1, "key_not_found");
    }
    let token = home.lf("gateway pair --name web").ok().out.lines().next().unwrap().to_owned();
    let gateway = Gateway::start(&home);
    let bearer = format!("Bearer {token}");
    let ask = |line: &str, body| {
        let line = line.replace("ID", &other);
        gateway.ask(
            &line,
            &[("Authorization", &bearer), ("Content-Type", "application/json")],
            body,
        )
    };
    for (line, body) in [
        ("DELETE /keys/ID", ""),
        ("POST /keys/ID/resolve", ""),
        ("POST /keys/ID/rotate", ""),
        ("PUT /keys/ID", r#"{"label":"New"}"#),
        ("PUT /keys/ID", r#"{"rawKey":"new"}"#),
    ] {
        assert_eq!(ask(line, body).status, 404, "{line}");
    }
    gateway.ends();
    // Damaged, it has no meta.id, and the directory's list decides.
    assert_eq!(home.value(&id), VALUE);
    assert!(home.lf("keys list").ok().out.contains(&id), "and it is listed as what it is");
    let small = id.to_ascii_lowercase();
    fs::write(home.file(&small), "{").unwrap();
    home.lf(&format!("keys remove --yes -- {}", small.to_ascii_uppercase()))
        .fails(1, "key_not_found");
    assert!(home.file(&small).exists());
    home.lf(&format!("keys remove --yes -- {small}")).ok();
    assert!(home.names().is_empty());
}

#[test]
fn fix_says_where_a_mode_did_not_take() {
    let home = Home::new();
    let _mount = Mount::ntfs(&home);
    home.add("openai", "Prod", VALUE);
    let fixed = home.lf("keys doctor --fix").fails(3, "checks_failed");
    assert!(!fixed.out.contains("now only its owner"), "{fixed}");
    assert!(fixed.err.contains("keeps no modes") && fixed.err.contains("umask=077"), "{fixed}");
    let said = home.lf("keys init").go();
    assert!(said.err.contains("keeps no modes") && !said.err.contains("now only"), "{said}");
}

#[test]
fn writable_means_that_a_file_can_be_made() {
    let home = Home::new();
    let _mount = Mount::tmpfs(&home, 40);
    home.add("openai", "Prod", VALUE);
    home.lf("keys doctor").ok();
    let names = (0..).map(|nth| home.path().join(format!(".lenserfight/{nth}")));
    names.take_while(|path| fs::write(path, "").is_ok()).for_each(drop);
    let found = home.lf("keys doctor").fails(3, "checks_failed");
    assert!(found.out.contains("FAIL  writable: lf can store nothing"), "{found}");
    assert!(found.out.contains("No space left"), "{found}");
    assert_eq!(home.names().len(), 1, "and nothing is left behind");
}

/// The user of [`Run::unprivileged`].
const USER: u32 = 65534;

/// Everything at and below a path that is not the user's.
fn not_the_users(path: &Path) -> Vec<PathBuf> {
    let stat = fs::symlink_metadata(path).unwrap();
    let below = if stat.is_dir() { list(path) } else { Vec::new() };
    let below = below.iter().flat_map(|path| not_the_users(path));
    (stat.uid() != USER).then(|| path.to_owned()).into_iter().chain(below).collect()
}

#[test]
fn what_root_makes_in_a_users_directory_is_the_users() {
    let home = Home::new();
    chown(home.path(), Some(USER), Some(USER)).unwrap();
    let id = home.add("openai", "Prod", VALUE);
    home.lf("keys list").ok();
    home.lf("keys rotate Prod").ok();
    home.lf("keys update --label Prod2 Prod").ok();
    home.lf("keys rekey --passphrase-stdin").input("another long passphrase").ok();
    home.lf("gateway pair --name web").ok();
    let root = home.path().join(".lenserfight");
    assert_eq!(not_the_users(&root), [] as [PathBuf; 0]);
    home.lf("keys rekey --undo").ok();
    fs::write(home.keys().join("audit.log"), vec![b' '; 5 << 20]).unwrap();
    home.lf("keys list").ok();
    assert!(home.keys().join("audit.log.1").exists());
    assert_eq!(not_the_users(&root), [] as [PathBuf; 0]);
    let exported = home.lf(&format!("keys export --i-understand -- {id}")).unprivileged().ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    home.lf("keys doctor").unprivileged().ok();
    home.lf("keys doctor").ok();
}

#[test]
fn root_gives_away_nothing_that_was_there() {
    let (home, _) = Home::with_key();
    support::hand_over(home.path());
    let roots = home.path().join("roots");
    fs::write(&roots, "").unwrap();
    chmod(&roots, 0o600);
    fs::remove_file(home.keys().join("audit.log")).unwrap();
    fs::hard_link(&roots, home.keys().join("audit.log")).unwrap();
    home.lf("keys list").ok();
    assert_eq!(fs::metadata(&roots).unwrap().uid(), 0);
}

#[test]
fn what_belongs_to_another_is_named_with_the_command_that_gives_it_back() {
    let (home, id) = Home::with_key();
    support::hand_over(home.path());
    let hint = |path: &Path| format!("sudo chown -R {USER} '{}'", path.display());
    for path in [home.file(&id), home.keys(), home.path().join(".lenserfight")] {
        chown(&path, Some(0), Some(0)).unwrap();
        for command in [
            "keys export Prod --i-understand".to_owned(),
            format!("keys export --i-understand -- {id}"),
            format!("keys rotate -- {id}"),
        ] {
            let refused = home.lf(&command).unprivileged().fails(1, "permission_error");
            let (sentence, hint) =
                (format!("{} belongs to another user", path.display()), hint(&path));
            assert!(refused.err.contains(&sentence) && refused.err.contains(&hint), "{refused}");
        }
        let found = home.lf("keys doctor").unprivileged().fails(3, "checks_failed");
        assert!(found.out.contains(&hint(&path)), "{found}");
        let name = path.file_name().unwrap().to_str().unwrap();
        let hints = found.out.lines().filter(|line| line.contains("hint:") && line.contains(name));
        for hint in hints {
            assert!(!hint.contains("chmod") && !hint.contains("rm "), "{hint}");
        }
        let run = Command::new("sh").args(["-c", &hint(&path).replace("sudo ", "")]).status();
        assert!(run.unwrap().success());
        let exported = home.lf("keys export Prod --i-understand").unprivileged().ok();
        assert_eq!(exported.out, format!("{VALUE}\n"));
    }
    // The log is not the reason not to do what was asked for.
    chown(home.keys().join("audit.log"), Some(0), Some(0)).unwrap();
    let listed = home.lf("keys list").unprivileged().ok();
    assert!(listed.err.contains("audit.log belongs to another user"), "{listed}");
    let found = home.lf("keys doctor").unprivileged().fails(3, "checks_failed");
    assert!(found.out.contains("FAIL  owners") && !found.out.contains("chmod"), "{found}");
}

#[test]
fn a_gateway_that_cannot_read_its_pairings_says_so_at_the_start() {
    let (home, _) = Home::with_key();
    home.lf("gateway pair").ok();
    support::hand_over(home.path());
    let state = home.path().join(".lenserfight/gateway");
    for path in [state.join("pairings.json"), state] {
        let serve = || home.lf("gateway serve --keys-only --port 0").unprivileged();
        let said = || Gateway::run(serve()).ends();
        assert!(!said().err.contains("recognises no pairing"), "{}", said());
        chown(&path, Some(0), Some(0)).unwrap();
        let said = said();
        let hint = format!("sudo chown -R {USER} '{}'", path.display());
        assert!(said.err.contains("recognises no pairing"), "{said}");
        assert!(said.err.contains(&hint), "{said}");
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
}

/// What programs call the second of two versions of `ID.json`: Syncthing, Windows and Google Drive,
/// OneDrive, Dropbox, Nextcloud, Seafile, Resilio; git's mergetool, patch, rsync and editors.
fn conflict_names(id: &str) -> Vec<String> {
    [
        "ID.sync-conflict-20261128-033012-ABCDEFG.json",
        "ID (1).json",
        "ID-LAPTOP.json",
        "ID (LAPTOP's conflicted copy 2026-11-28).json",
        "ID (conflicted copy 2026-11-28 033012).json",
        "ID (SFConflict me@example.org 2026-11-28-03-30-12).json",
        "ID.Conflict.json",
        "Copy of ID.json",
        "ID.json.orig",
        "ID.orig",
        "ID.json~",
        "ID.json.bak",
    ]
    .map(|name| name.replace("ID", id))
    .into()
}

/// The commands in the doctor's hints about conflict copies, as a person copies them.
fn hints(home: &Home) -> Vec<String> {
    let report = home.lf("keys doctor").fails(3, "checks_failed").out;
    let hints = report.lines().filter_map(|line| line.strip_prefix("      hint: lf keys restore "));
    hints.map(str::to_owned).collect()
}

fn in_a_shell(home: &Home, arguments: &str) -> support::Outcome {
    let mut words = support::lf();
    words.extend(["keys".into(), "restore".into()]);
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let script = format!("{} {arguments}", words.join(" "));
    home.program(&["sh", "-c", &script])
        .env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE)
        .ok()
}

#[test]
fn what_programs_make_of_two_versions_becomes_two_keys_or_one() {
    let (home, id) = Home::with_key();
    let older = fs::read(home.file(&id)).unwrap();
    home.lf("keys rotate --new-value Prod").input("newer").ok();
    let present = fs::read(home.file(&id)).unwrap();
    let names = conflict_names(&id);
    for name in &names {
        fs::write(home.keys().join(name), &older).unwrap();
        chmod(&home.keys().join(name), 0o600);
    }
    let hints = hints(&home);
    let hint = format!("-- '{}'", home.keys().display());
    assert_eq!(hints, vec![hint.clone(); names.len()]);
    let one = format!("-- '{}'", home.keys().join(&names[2]).display());
    let taken = in_a_shell(&home, &one);
    assert!(
        taken.err.contains("which is now") && taken.err.contains("removed the file"),
        "{taken}"
    );
    assert!(!home.keys().join(&names[2]).exists() && home.keys().join(&names[1]).exists());
    let restored = in_a_shell(&home, &hint);
    assert_eq!(restored.err.matches("removed the file").count(), names.len() - 1, "{restored}");
    assert!(!restored.err.contains("which is now"), "the others have its value: {restored}");
    assert_eq!(fs::read(home.file(&id)).unwrap(), present, "nothing is overwritten");
    home.lf("keys doctor").ok();
    assert_eq!(home.value(&id), "newer");
    let label = format!("Prod (copy of {})", &id[..8]);
    let second = home.words(&["keys", "export", "--i-understand", &label]);
    let second = second.env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE).ok();
    assert_eq!(second.out, format!("{VALUE}\n"));
    assert_eq!(home.names().len(), 2);
}

#[test]
fn a_conflict_copy_is_no_key_and_in_no_ones_way() {
    let (home, id) = Home::with_key();
    for name in conflict_names(&id) {
        fs::copy(home.file(&id), home.keys().join(name)).unwrap();
    }
    let named = format!("{id}-LAPTOP");
    let listed = home.lf("keys list").ok();
    assert_eq!(listed.out.lines().count(), 2, "{listed}");
    assert!(listed.err.contains("is a copy of the key"), "{listed}");
    home.lf(&format!("keys rotate {}", &id[..6])).ok();
    home.lf(&format!("keys export --i-understand -- {named}")).fails(1, "corrupt_envelope");
    home.lf("keys rekey --passphrase-stdin").input("another long passphrase").ok();
    home.lf("keys rekey --undo").ok();
    home.lf("keys rekey --passphrase-stdin").input("another long passphrase").ok();
    let exported = home.bare("keys export Prod --i-understand");
    let exported = exported.env("LENSERFIGHT_KEYS_PASSPHRASE", "another long passphrase").ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    assert_eq!(home.names().len(), conflict_names(&id).len() + 1, "none is removed unasked");
}

#[test]
fn copies_elsewhere_stay_and_are_taken_once() {
    let home = Home::new();
    let long = "x".repeat(64);
    let id = home.add("openai", &long, VALUE);
    let copy = home.copy();
    let strange = copy.join("it's a \"copy\" (1)\n$(touch x).json");
    fs::rename(copy.join(format!("{id}.json")), &strange).unwrap();
    home.lf(&format!("keys rotate --new-value -- {id}")).input("newer").ok();
    let restore = || {
        let run =
            home.words(&["keys", "restore", strange.to_str().unwrap(), copy.to_str().unwrap()]);
        run.env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE).ok()
    };
    let restored = restore();
    let said =
        "restored 0 of 2 keys; already here: 1; here with another value, now a second key: 1";
    assert_eq!(restored.out.trim_end(), said);
    assert_eq!(restore().out, "restored 0 of 2 keys; already here: 2\n");
    assert!(strange.exists());
    assert_eq!(home.names().len(), 2);
    let listed = home.lf("keys list --json").ok().out;
    assert!(listed.contains(&format!("xxx (copy of {})", &id[..8])), "{listed}");
    // A key that is gone comes back under its own id, whatever the copy is called.
    home.lf(&format!("keys remove --yes -- {id}")).ok();
    assert!(restore().out.starts_with("restored 1 of 2 keys"));
    assert_eq!(home.value(&id), VALUE);
    // A name that no terminal shows as it is leads to the whole directory.
    let inside = home.keys().join(format!("{id} \u{1b}[2J.json"));
    fs::copy(home.file(&id), &inside).unwrap();
    chmod(&inside, 0o600);
    let hints = hints(&home);
    assert_eq!(hints, [format!("-- '{}'", home.keys().display())]);
    in_a_shell(&home, &hints[0]);
    assert!(!inside.exists());
}

#[test]
fn a_copy_that_does_not_open_is_left_where_it_is() {
    let (home, id) = Home::with_key();
    let text = fs::read_to_string(home.file(&id)).unwrap();
    let at = text.find("\"ciphertext\":\"").unwrap() + 14;
    let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
    let copy = home.keys().join(format!("{id} (1).json"));
    fs::write(&copy, format!("{}{flipped}{}", &text[..at], &text[at + 1..])).unwrap();
    let left = home.lf(&format!("keys restore {}", home.keys().display())).fails(1, "incomplete");
    assert!(left.err.contains("not restored") && copy.exists(), "{left}");
    assert_eq!(home.names().len(), 2);
}

#[test]
fn a_rekey_leaves_no_key_behind_of_which_there_is_a_copy_alone() {
    let (home, id) = Home::with_key();
    fs::rename(home.file(&id), home.file(&format!("{id}-LAPTOP"))).unwrap();
    let rekey = || home.lf("keys rekey --passphrase-stdin").input("another long passphrase");
    assert!(rekey().fails(1, "corrupt_envelope").err.contains("-LAPTOP.json"));
    in_a_shell(&home, &hints(&home)[0]);
    rekey().ok();
    assert_eq!(home.value(&id), VALUE);
}
