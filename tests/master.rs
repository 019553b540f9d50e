//! One owner of the master passphrase: no slip, no second directory of keys and no crash loses a key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

#[path = "torture/strace.rs"]
mod strace;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use support::bus::Bus;
use support::gateway::{Gateway, bearer, pair};
use support::pty::Terminal;
use support::{Home, Outcome, PASSPHRASE, Run, SHEET, Stopped, VALUE, cores, rows};

const SERVICE: &str = "lenserfight-keys";
const NEW: &str = "a new passphrase of some length";
const TYPO: &str = "correct horse batery staple";
const STRANGER: &str = "a passphrase that nobody knows any more";
const RECORD: [&str; 4] = ["service", SERVICE, "account", "master.earlier"];
const KEYCHAIN: [&str; 4] = ["service", SERVICE, "account", "master"];

/// A home and its keychain; a second directory of keys lies beside the first.
struct Desk {
    home: Home,
    bus: Bus,
}

/// Which directory of keys a command works on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Default,
    Second,
}
use Place::{Default, Second};

impl Desk {
    /// One key in each directory, under a master passphrase in the keychain.
    fn new() -> Desk {
        let (home, bus) = Home::with_keychain();
        let desk = Desk { home, bus };
        desk.add(Default, "One");
        desk.add(Second, "Two");
        desk
    }

    /// An empty keychain, and nothing else.
    fn empty() -> Desk {
        let home = Home::new();
        let bus = Bus::with_keyring(&home);
        Desk { home, bus }
    }

    fn lf(&self, place: Place, arguments: &str) -> Run {
        let run = self.bus.on(self.home.bare(arguments));
        match place {
            Default => run,
            Second => run.env("LENSERFIGHT_KEYS_DIR", self.second()),
        }
    }

    fn second(&self) -> PathBuf {
        self.home.path().join("second")
    }

    fn dir(&self, place: Place) -> PathBuf {
        match place {
            Default => self.home.keys(),
            Second => self.second(),
        }
    }

    fn add(&self, place: Place, label: &str) -> String {
        let add = self.lf(place, &format!("keys add --provider openai --label {label}"));
        add.input(format!("value of {label}")).ok().out.trim_end().to_owned()
    }

    /// A key under a passphrase that the keychain does not have.
    fn add_under(&self, place: Place, label: &str, passphrase: &str) {
        let add = self.lf(place, &format!("keys add --provider openai --label {label}"));
        forced(add, passphrase).input(format!("value of {label}")).ok();
    }

    fn opens(&self, place: Place, label: &str) {
        let export = self.lf(place, &format!("keys export --i-understand {label}")).ok();
        assert_eq!(export.out, format!("value of {label}\n"), "{export}");
    }

    fn both_open(&self) {
        self.opens(Default, "One");
        self.opens(Second, "Two");
    }

    fn master(&self) -> String {
        self.bus.lookup(SERVICE, "master")
    }

    fn earlier(&self) -> String {
        self.bus.lookup(SERVICE, "master.earlier")
    }

    /// Runs this until it is stopped behind a call.
    fn stopped(&self, place: Place, arguments: &str, at: &str) -> Stopped {
        let (name, nth) = at.split_once(':').unwrap();
        let fault = format!("{name}:signal=SIGSTOP:when={nth}");
        stopped(&self.home, self.lf(place, arguments), &fault)
    }

    /// Kills a rekey there.
    fn killed(&self, place: Place, at: &str) {
        let killed = self.stopped(place, "keys rekey", at).dies();
        assert_eq!(killed.status, None, "{killed}");
    }

    /// Everything is as it should be, in both places, and nothing is left of a rekey.
    fn is_well(&self) {
        for place in [Default, Second] {
            self.lf(place, "keys rotate --all").ok();
            self.lf(place, "keys doctor").ok();
            assert!(!self.dir(place).join(".rekey").exists());
        }
        self.both_open();
        let rest = self.bus.run("secret-tool", &["search", "--all", "service", SERVICE]);
        assert!(!format!("{}{}", rest.out, rest.err).contains("rekey."), "{rest}");
    }
}

/// A run that has this passphrase, whatever the keychain has.
fn forced(run: Run, passphrase: &str) -> Run {
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase)
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1")
}

fn stopped(home: &Home, run: Run, fault: &str) -> Stopped {
    let stopped = run.stop(&cores()[0], &home.path().join("strace.log"), fault);
    stopped.unwrap_or_else(|ended| panic!("not stopped: {ended}"))
}

/// Stops a run before it takes its first lock, once it has found that nothing is in its way.
fn stopped_before_its_lock(home: &Home, run: impl Fn() -> Run) -> Stopped {
    let log = home.path().join("strace.log");
    let before = home.copy();
    run().trace(&log, "all").on_core(&cores()[0]).ok();
    fs::remove_dir_all(home.keys()).unwrap();
    fs::rename(before, home.keys()).unwrap();
    let calls = strace::calls(&fs::read_to_string(&log).unwrap());
    let lock = calls.iter().position(|call| call.name == "flock");
    stopped(home, run(), &calls[lock.unwrap() - 1].stop())
}

fn hint(outcome: &Outcome) -> &str {
    let line = outcome.err.lines().rfind(|line| line.starts_with("lf: hint: "));
    line.unwrap_or_else(|| panic!("no hint: {outcome}"))
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = support::list(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Behind which of its renames the rekey of one key is: the key is staged.
const STAGING: &str = "renameat:2";
/// `.rekey/ready` is there, and the keychain has not been told.
const READY: &str = "renameat:3";
/// The keychain has the new passphrase, and the key is moved.
const SWITCHED: &str = "renameat:4";

#[test]
fn a_passphrase_with_a_typo_seals_nothing() {
    let (home, id) = Home::with_key();
    let before = files(&home.keys());
    let file = home.path().join("passphrase");
    fs::write(&file, TYPO).unwrap();
    support::chmod(&file, 0o600);
    let desk = Desk::empty();
    desk.bus.store(&KEYCHAIN, TYPO);
    let commands = [
        "keys add --provider openai --label New".to_owned(),
        format!("keys update --rotate -- {id}"),
        format!("keys rotate --new-value -- {id}"),
    ];
    for command in &commands {
        let run = || home.bare(command).input("sk-new");
        let variable = run().env("LENSERFIGHT_KEYS_PASSPHRASE", TYPO);
        let named = run().env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
        let kept = desk.bus.on(run());
        for (run, source) in [
            (variable, "from LENSERFIGHT_KEYS_PASSPHRASE "),
            (named, file.to_str().unwrap()),
            (kept, "from the keychain"),
        ] {
            let refused = run.fails(2, "wrong_passphrase");
            assert!(refused.err.contains(source), "{refused}");
            assert!(hint(&refused).contains("doctor"), "the way out: {refused}");
            assert_eq!(files(&home.keys()), before, "{refused}");
        }
    }
    // Each of them works with the right one.
    for command in &commands {
        home.lf(command).input("sk-new").ok();
    }
}

#[test]
fn an_import_under_a_passphrase_with_a_typo_is_refused_once_and_stores_nothing() {
    let (home, _) = Home::with_key();
    let dotenv = home.path().join(".env");
    fs::write(&dotenv, "GROQ_API_KEY=gsk_new\nMISTRAL_API_KEY=new\n").unwrap();
    let before = files(&home.keys());
    let import = format!("keys import --yes --dotenv {}", dotenv.display());
    let run = home.bare(&import).env("LENSERFIGHT_KEYS_PASSPHRASE", TYPO);
    let refused = run.fails(2, "wrong_passphrase");
    assert!(refused.err.contains("from LENSERFIGHT_KEYS_PASSPHRASE "), "{refused}");
    assert_eq!(refused.err.matches("does not open").count(), 1, "{refused}");
    assert_eq!(files(&home.keys()), before);
    home.lf(&import).ok();
}

#[test]
fn a_gateway_with_a_typo_in_its_passphrase_seals_nothing() {
    let (home, id) = Home::with_key();
    let bearer = bearer(&pair(&home, ""));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let before = files(&home.keys());
    let serve = home.bare("gateway serve --keys-only --port 0");
    let gateway = Gateway::run(serve.env("LENSERFIGHT_KEYS_PASSPHRASE", TYPO));
    let add = r#"{"provider":"openai","label":"New","rawKey":"sk-new"}"#;
    let put = format!("PUT /keys/{id}");
    for (line, body) in [("POST /keys", add), (&*put, r#"{"rawKey":"sk-new"}"#)] {
        let answer = gateway.ask(line, &headers, body);
        assert_eq!(answer.told(), (503, "wrong_passphrase"), "{line}");
        assert_eq!(files(&home.keys()), before, "{line}");
    }
    // A label is not sealed.
    let renamed = gateway.ask(&put, &headers, r#"{"label":"Renamed"}"#);
    assert_eq!(renamed.status, 200, "{renamed:?}");
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn a_right_passphrase_is_not_held_up_by_a_key_that_does_not_open() {
    let desk = Desk::empty();
    desk.add_under(Second, "Strange", STRANGER);
    let strange = files(&desk.second()).remove(0);
    let (home, _) = Home::with_key();
    let name = strange.0.file_name().unwrap();
    fs::write(home.keys().join(name), strange.1).unwrap();
    home.lf("keys add --provider openai").input("v").ok();
}

#[test]
fn recovery_import_in_another_directory_keeps_the_default_store_readable() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.second()).unwrap();
    desk.add_under(Second, "Two", PASSPHRASE);
    desk.lf(Second, "keys recovery import").input(SHEET).ok();
    desk.both_open();
    desk.is_well();
}

#[test]
fn init_force_in_an_empty_directory_keeps_the_default_store_readable() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.second()).unwrap();
    desk.lf(Second, "keys init").ok();
    desk.lf(Second, "keys init").fails(2, "already_configured");
    desk.lf(Second, "keys init --force").ok();
    desk.opens(Default, "One");
    desk.add(Second, "Two");
    desk.is_well();
}

#[test]
fn a_second_directory_that_is_not_there_yet_is_no_circle_of_hints() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.second()).unwrap();
    let report = desk.lf(Second, "keys doctor").fails(3, "checks_failed");
    let (_, hint) = report.out.split_once("hint: lf ").unwrap();
    let hint = hint.lines().next().unwrap();
    desk.lf(Second, hint).input("v").ok();
    desk.lf(Second, "keys doctor").ok();
    desk.opens(Default, "One");
}

#[test]
fn init_force_while_the_default_store_is_away_keeps_it_readable() {
    let desk = Desk::new();
    let (there, away) = (desk.home.keys(), desk.home.path().join("stick"));
    fs::rename(&there, &away).unwrap();
    desk.lf(Default, "keys init --force").ok();
    fs::remove_dir_all(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    desk.both_open();
    desk.is_well();
}

#[test]
fn adopt_under_another_root_keeps_the_default_store_readable() {
    let desk = Desk::new();
    let root = desk.home.path().join("root");
    let at_root =
        |arguments: &str| desk.lf(Default, arguments).env("LENSERFIGHT_RUNTIME_DIR", &root);
    let add = at_root("keys add --provider openai --label Rooted").input("value of Rooted");
    forced(add, PASSPHRASE).ok();
    let left = root.join("gateway/keys");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy"), PASSPHRASE).unwrap();
    at_root("keys adopt").ok();
    let rooted = at_root("keys export --i-understand Rooted").ok();
    assert_eq!(rooted.out, "value of Rooted\n");
    desk.both_open();
    desk.is_well();
}

#[test]
fn an_old_backup_that_is_looked_into_costs_the_default_store_nothing() {
    let desk = Desk::new();
    let before = desk.master();
    let backup = Desk::empty();
    backup.add_under(Default, "Old", PASSPHRASE);
    let restore = format!("keys restore {}", backup.home.keys().display());
    fs::remove_dir_all(desk.second()).unwrap();
    let restored = desk.lf(Second, &restore).go();
    assert!(restored.err.contains("recovery import"), "{restored}");
    desk.lf(Second, "keys recovery import").input(SHEET).ok();
    desk.opens(Second, "Old");
    desk.opens(Default, "One");
    assert!(desk.master() == before || desk.earlier().contains(&before));
}

#[test]
fn a_rekey_that_is_stopped_while_another_directory_is_rekeyed_loses_nothing() {
    for at in rows([READY, STAGING, SWITCHED]) {
        let desk = Desk::new();
        let stopped = desk.stopped(Second, "keys rekey", at);
        desk.lf(Default, "keys rekey").ok();
        desk.opens(Default, "One");
        let done = stopped.goes_on();
        assert_eq!(done.status, Some(0), "{done}");
        desk.both_open();
        desk.is_well();
    }
}

#[test]
fn a_rekey_killed_at_ready_then_one_of_another_directory_then_finish_and_undo_work() {
    for (end, others) in
        rows([("keys rekey --finish", 1), ("keys rekey --undo", 2), ("keys rotate One", 1)])
    {
        let desk = Desk::new();
        desk.killed(Default, READY);
        for _ in 0..others {
            desk.lf(Second, "keys rekey").ok();
        }
        desk.lf(Default, end).ok();
        desk.both_open();
        desk.is_well();
    }
}

#[test]
fn a_rekey_whose_passphrase_is_the_master_passphrase_already_is_not_undone() {
    let desk = Desk::new();
    let old = desk.master();
    // In place of the first move of a key.
    let killed = desk.lf(Default, "keys rekey").inject("renameat:signal=SIGKILL:when=4");
    let killed = killed.on_core(&cores()[0]).go();
    assert_eq!(killed.status, None, "{killed}");
    let new = desk.master();
    assert_ne!(new, old);
    let refused = desk.lf(Default, "keys rekey --undo").fails(2, "refused");
    assert!(hint(&refused).contains("lf keys rekey --finish"), "{refused}");
    desk.both_open();
    desk.lf(Default, "keys rekey --finish").ok();
    assert_eq!(desk.master(), new);
    desk.is_well();
}

#[test]
fn a_gateway_with_the_old_variable_after_an_environment_rekey_stores_nothing() {
    let (home, id) = Home::with_key();
    let bearer = bearer(&pair(&home, ""));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let gateway = Gateway::start(&home);
    let add = |label: &str| {
        let body = format!(r#"{{"provider":"openai","label":"{label}","rawKey":"v"}}"#);
        gateway.ask("POST /keys", &headers, &body)
    };
    assert_eq!(add("Before").status, 201);
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    let pending = add("Pending");
    assert_eq!(pending.told(), (503, "rekey_pending"));
    let new = |arguments: &str| home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", NEW);
    new("keys rekey --finish").ok();
    let before = files(&home.keys());
    assert_eq!(add("After").told(), (503, "wrong_passphrase"));
    let line = format!("PUT /keys/{id}");
    let put = gateway.ask(&line, &headers, r#"{"rawKey":"v"}"#);
    assert_eq!(put.told(), (503, "wrong_passphrase"));
    assert_eq!(files(&home.keys()), before);
    let opened = new(&format!("keys export --i-understand -- {id}")).ok();
    assert_eq!(opened.out.trim_end(), VALUE);
}

#[test]
fn what_is_about_to_be_stored_when_an_environments_rekey_is_staged_is_refused() {
    let (home, id) = Home::with_key();
    let other = Home::new();
    other.add("openai", "Brought", VALUE);
    for command in [
        "keys add --provider openai --label New".to_owned(),
        format!("keys restore {}", other.keys().display()),
        format!("keys update --rotate -- {id}"),
    ] {
        let before = home.names();
        let stopped = stopped_before_its_lock(&home, || home.lf(&command).input("sk-new"));
        home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
        let refused = stopped.goes_on();
        assert_eq!(refused.status, Some(2), "{refused}");
        assert!(refused.err.contains("lf: rekey_pending: "), "{refused}");
        home.lf("keys rekey --undo").ok();
        assert_eq!(home.names(), before, "{refused}");
        assert_eq!(home.value(&id), VALUE);
    }
}

#[test]
fn two_rekeys_of_two_directories_at_once_lose_nothing() {
    let desk = Desk::new();
    for _ in 0..4 {
        thread::scope(|scope| {
            for place in [Default, Second] {
                let desk = &desk;
                scope.spawn(move || desk.lf(place, "keys rekey").ok());
            }
        });
        desk.both_open();
    }
    desk.is_well();
}

#[test]
fn a_killed_rekeys_next_passphrase_is_nobody_elses() {
    let desk = Desk::new();
    // One was killed when its keys were moved, and what is left is to clear up; the other while staging.
    desk.killed(Default, "unlinkat:1");
    desk.killed(Second, STAGING);
    let master = desk.master();
    desk.opens(Default, "One");
    assert_eq!(desk.master(), master);
    desk.both_open();
    desk.is_well();
}

#[test]
fn two_rekeys_of_one_directory_leave_another_readable() {
    let desk = Desk::new();
    desk.lf(Default, "keys rekey").ok();
    desk.lf(Default, "keys rekey").ok();
    desk.both_open();
    // Of a directory with nothing in it, too.
    for _ in 0..2 {
        let empty = desk.home.path().join("empty");
        desk.lf(Default, "keys rekey").env("LENSERFIGHT_KEYS_DIR", empty).ok();
    }
    desk.both_open();
    let report = desk.lf(Second, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("Two") && report.out.contains("lf keys rotate --all"), "{report}");
    desk.is_well();
}

#[test]
fn init_force_names_rekey_and_the_sheet_first_and_keeps_what_it_gives_up() {
    let desk = Desk::empty();
    desk.add_under(Default, "Lost", PASSPHRASE);
    desk.bus.store(&KEYCHAIN, STRANGER);
    let before = files(&desk.home.keys());
    let refused = desk.lf(Default, "keys init --force").input("yes\n").fails(2, "refused");
    for named in ["lf keys rekey", "recovery import", "1 key in", "unreadable"] {
        assert!(refused.err.contains(named), "{named}: {refused}");
    }
    assert!(!refused.err.contains("--yes"), "{refused}");
    assert_eq!(files(&desk.home.keys()), before);
    assert_eq!(desk.master(), STRANGER);

    let mut terminal = Terminal::start(&desk.lf(Default, "keys init --force"));
    terminal.sees("recovery import").sees("Type yes to continue").types("yes\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(desk.earlier().contains(STRANGER));
    let kept = files(&desk.home.keys().join("unreadable"));
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].1, before[0].1, "it is kept as it was");
    // The way on that has always been there, and the way back.
    desk.add(Default, "Again");
    desk.lf(Default, "keys doctor").ok();
    desk.lf(Default, "keys recovery import").input(SHEET).ok();
    desk.opens(Default, "Lost");
    desk.opens(Default, "Again");
    assert!(!desk.home.keys().join("unreadable").exists());
    desk.lf(Default, "keys rotate --all").ok();
    desk.lf(Default, "keys doctor").ok();
}

#[test]
fn a_key_that_was_given_a_new_value_before_the_yes_is_not_given_up() {
    let desk = Desk::new();
    let other = Home::new();
    let id = other.add("openai", "Lost", VALUE);
    fs::copy(other.file(&id), desk.home.file(&id)).unwrap();
    let mut terminal = Terminal::start(&desk.lf(Default, "keys init --force"));
    terminal.sees("Type yes to continue");
    let update = desk.lf(Default, "keys update --rotate Lost");
    update.input("value of Lost").ok();
    terminal.types("yes\r");
    let (status, screen) = terminal.ends();
    assert!(matches!(status, Some(0 | 2)), "{screen}");
    desk.opens(Default, "Lost");
    desk.both_open();
}

#[test]
fn a_yes_typed_before_the_question_is_no_answer() {
    let desk = Desk::new();
    let before = desk.master();
    for command in ["keys init --force", "keys recovery forget"] {
        if command.contains("forget") {
            desk.lf(Second, "keys rekey").ok();
        }
        // It waits for the keychain while this is typed.
        desk.bus.freeze();
        let mut terminal = Terminal::start(&desk.lf(Default, command));
        terminal.types("yes\r").sees("yes");
        desk.bus.thaw();
        terminal.sees("Type yes to continue").types("no\r");
        let (status, screen) = terminal.ends();
        assert_ne!(status, Some(0), "{screen}");
        assert!(desk.master() == before || desk.earlier().contains(&before));
        desk.both_open();
    }
}

#[test]
fn no_lock_is_held_while_a_person_is_asked() {
    let desk = Desk::new();
    let mut terminal = Terminal::start(&desk.lf(Default, "keys init --force"));
    terminal.sees("Type yes to continue");
    assert_eq!(desk.bus.owner("com.lenserfight.lf.Master"), None);
    drop(support::lock(&desk.home.keys()));
    desk.lf(Second, "keys rekey").ok();
    terminal.types("yes\r");
    // What was asked is not so any more.
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(2), "{screen}");
    assert!(screen.contains("lf: refused: "), "{screen}");
    desk.both_open();
}

#[test]
fn every_change_of_the_master_passphrase_is_in_the_audit_log() {
    let desk = Desk::new();
    let told = |place: Place, command: &str| {
        let log = fs::read_to_string(desk.dir(place).join("audit.log")).unwrap();
        let is_it = |line: &&str| {
            line.contains(&format!("\"{command}\"")) && line.contains("\"kind\":\"update\"")
        };
        log.lines().filter(is_it).count()
    };
    assert_eq!(told(Default, "keys init"), 1);
    desk.lf(Default, "keys init --force --yes").ok();
    assert_eq!((told(Default, "keys init"), told(Second, "keys init")), (2, 0));
    desk.lf(Second, "keys rekey").ok();
    assert!(told(Second, "keys rekey") > 0 && told(Default, "keys rekey") == 0);
    fs::remove_dir_all(desk.second()).unwrap();
    desk.add_under(Second, "Two", PASSPHRASE);
    desk.lf(Second, "keys recovery import").input(SHEET).ok();
    assert_eq!(
        (told(Second, "keys recovery import"), told(Default, "keys recovery import")),
        (1, 0)
    );
    // One that fails is told of, too.
    desk.lf(Second, "keys rotate --all").ok();
    desk.lf(Default, "keys recovery forget --yes").ok();
    assert_eq!(told(Default, "keys recovery forget"), 1);

    let desk = Desk::empty();
    desk.add_under(Default, "One", PASSPHRASE);
    let left = desk.home.path().join(".lenserfight/gateway/keys");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy"), PASSPHRASE).unwrap();
    desk.lf(Default, "keys adopt").ok();
    assert!(desk.home.audit().contains("\"keys adopt\""));
}

#[test]
fn a_passphrase_that_opens_none_of_many_keys_is_one_sentence_in_the_doctor() {
    let (home, _) = Home::with_key();
    for label in ["B", "C", "D"] {
        home.add("openai", label, "v");
    }
    let doctor = home.bare("keys doctor").env("LENSERFIGHT_KEYS_PASSPHRASE", TYPO);
    let report = doctor.fails(3, "checks_failed");
    assert_eq!(report.out.matches("FAIL").count(), 1, "{report}");
    assert!(report.out.contains("opens none of the 4 keys"), "{report}");
    assert!(report.out.contains("LENSERFIGHT_KEYS_PASSPHRASE"), "{report}");
}

#[test]
fn a_missing_passphrase_with_keys_hints_at_the_sheet() {
    let desk = Desk::empty();
    desk.add_under(Default, "One", PASSPHRASE);
    for command in [
        "keys export --i-understand One",
        "keys add --provider openai",
        "keys rotate --new-value One",
        "keys rekey",
    ] {
        let missing = desk.lf(Default, command).input("v").fails(1, "passphrase_missing");
        let hint = hint(&missing);
        assert!(hint.contains("recovery import") && !hint.contains("init"), "{missing}");
    }
    let report = desk.lf(Default, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("recovery import"), "{report}");
    assert!(!report.out.contains("keys init"), "{report}");
    // Without keys it is still init.
    let missing =
        desk.lf(Second, "keys add --provider openai").input("v").fails(1, "passphrase_missing");
    assert!(hint(&missing).contains("lf keys init"), "{missing}");
}

/// Made by Node's crypto, under the passphrase `short`.
const SHORT: &str = r#"{"v":1,"alg":"aes-256-gcm","kdf":"scrypt","salt":"XZetMtAYHq9JjounTN8ASQ==","iv":"HtMKIWw2TQBKXEV6","ciphertext":"qkHZfiSbsgKpJ2vWaK8=","tag":"FktvuzhUL4yQr0qCev3ZkQ==","meta":{"id":"short-passphrase-0001","provider":"openai","label":"Before","createdAt":"2026-01-02T03:04:05.678Z"}}"#;

#[test]
fn a_short_passphrase_that_opens_hints_at_rekey() {
    let desk = Desk::empty();
    fs::create_dir_all(desk.home.keys()).unwrap();
    support::chmod(&desk.home.keys(), 0o700);
    fs::write(desk.home.file("short-passphrase-0001"), SHORT).unwrap();
    desk.bus.store(&KEYCHAIN, "short");
    for command in [
        "keys add --provider openai",
        "keys rotate --new-value Before",
        "keys update --rotate Before",
    ] {
        let short = desk.lf(Default, command).input("v").fails(2, "passphrase_invalid");
        assert!(hint(&short).contains("lf keys rekey"), "{short}");
    }
    let report = desk.lf(Default, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("lf keys rekey"), "{report}");
    desk.lf(Default, "keys rekey").ok();
    desk.add(Default, "New");
    let export = desk.lf(Default, "keys export --i-understand Before").ok();
    assert_eq!(export.out, "sk-from-before\n");
}

#[test]
fn a_record_that_is_damaged_or_not_ours_is_named_and_nothing_is_changed() {
    for damage in rows(["garbage", r#"{"v":1}"#, "[]"]) {
        let desk = Desk::new();
        let before = desk.master();
        desk.bus.store(&RECORD, damage);
        for command in ["keys rekey", "keys init --force --yes"] {
            let refused = desk.lf(Second, command).fails(2, "refused");
            assert!(refused.err.contains("master.earlier"), "{refused}");
            assert!(hint(&refused).contains("recovery forget"), "{refused}");
            assert_eq!((desk.master(), desk.earlier()), (before.clone(), damage.to_owned()));
            assert!(!desk.second().join(".rekey").exists(), "nothing was begun: {refused}");
        }
        // Nobody is kept from the keys.
        desk.both_open();
        desk.add(Second, "More");
        let report = desk.lf(Default, "keys doctor").fails(3, "checks_failed");
        assert!(report.out.contains("master.earlier"), "{report}");
        assert!(report.out.contains("recovery forget"), "{report}");
        desk.lf(Default, "keys recovery forget --yes").ok();
        desk.lf(Second, "keys rekey").ok();
        desk.is_well();
    }
}

#[test]
fn a_record_that_is_full_makes_no_room_by_itself() {
    let desk = Desk::new();
    let entry = |n| format!(r#"{{"passphrase":"an earlier passphrase, number {n}","until":null}}"#);
    let entries: Vec<String> = (0..64).map(entry).collect();
    let full = format!(r#"{{"v":1,"earlier":[{}]}}"#, entries.join(","));
    desk.bus.store(&RECORD, &full);
    let before = desk.master();
    for command in ["keys init --force --yes", "keys rekey"] {
        let refused = desk.lf(Second, command).fails(2, "refused");
        assert!(hint(&refused).contains("recovery forget"), "{refused}");
        assert_eq!((desk.master(), desk.earlier()), (before.clone(), full.clone()));
        desk.both_open();
    }
    desk.lf(Second, "keys recovery forget --yes").ok();
    desk.lf(Second, "keys rekey").ok();
    desk.both_open();
    desk.is_well();
}

#[test]
fn a_record_of_a_later_version_is_left_alone() {
    let desk = Desk::new();
    let (before, later) = (desk.master(), r#"{"v":2,"earlier":[]}"#);
    desk.bus.store(&RECORD, later);
    for command in ["keys rekey", "keys init --force --yes", "keys recovery forget --yes"] {
        let refused = desk.lf(Second, command).fails(2, "refused");
        assert!(refused.err.contains("a later version"), "{refused}");
        assert!(!hint(&refused).contains("forget"), "{refused}");
    }
    assert_eq!((desk.master(), desk.earlier()), (before, later.to_owned()));
    desk.both_open();
}

#[test]
fn forgetting_names_what_becomes_unreadable_and_asks() {
    let desk = Desk::new();
    let old = desk.master();
    desk.lf(Second, "keys rekey").ok();
    let refused = desk.lf(Second, "keys recovery forget").input("yes\n").fails(2, "refused");
    let place = desk.home.keys().display().to_string();
    assert!(refused.err.contains(&format!("1 key in {place}")), "{refused}");
    assert!(refused.err.contains("lf keys rotate --all"), "{refused}");
    assert!(!refused.err.contains("--yes"), "{refused}");
    assert!(desk.earlier().contains(&old));
    desk.both_open();
    desk.lf(Default, "keys rotate --all").ok();
    let harmless = desk.lf(Second, "keys recovery forget").fails(2, "refused");
    assert!(!harmless.err.contains("become unreadable"), "{harmless}");
    desk.lf(Second, "keys recovery forget --yes").ok();
    assert_eq!(desk.earlier(), "");
    desk.is_well();
}

#[test]
fn a_keychain_that_answers_reads_and_refuses_writes_changes_nothing() {
    let mut desk = Desk::new();
    let before = (desk.master(), desk.earlier());
    desk.bus.stop_keyring();
    desk.bus.start_keyring_that_cannot_write();
    support::until("the keyring's secrets", || desk.master() == before.0);
    for command in ["keys rekey", "keys init --force --yes"] {
        desk.lf(Second, command).fails(1, "keychain_unavailable");
        assert_eq!((desk.master(), desk.earlier()), before, "{command}");
        desk.both_open();
    }
    desk.bus.stop_keyring();
    desk.bus.start_keyring(true);
    support::until("the keyring's secrets", || (desk.master(), desk.earlier()) == before);
    desk.both_open();
    desk.lf(Second, "keys rekey").ok();
    desk.is_well();
}

#[test]
fn a_copy_made_in_the_middle_opens_with_both_passphrases_and_tells_neither() {
    let desk = Desk::new();
    desk.killed(Default, READY);
    let (old, copy) = (desk.master(), desk.home.copy());
    let id = fs::read_to_string(copy.join(".rekey/id")).unwrap();
    let new = desk.bus.lookup(SERVICE, &format!("rekey.{id}"));
    assert_eq!(new.len(), 43);
    let grep = desk.home.program(&["grep", "-raFe", &new, copy.to_str().unwrap()]).go();
    assert_eq!(grep.status, Some(1), "the new passphrase is in the copy: {grep}");
    let at_copy = |passphrase: &str| {
        let export = desk.home.bare("keys export --i-understand One");
        let export = export
            .env("LENSERFIGHT_KEYS_DIR", &copy)
            .env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase);
        assert_eq!(export.ok().out, "value of One\n", "{passphrase}");
    };
    at_copy(&old);
    at_copy(&new);
    desk.lf(Default, "keys rekey --finish").ok();
    assert_eq!(desk.master(), new);
    at_copy(&old);
    at_copy(&new);
    // With the keychain that knows both, the copy is a store like any other.
    let finished = desk.lf(Default, "keys rekey --finish").env("LENSERFIGHT_KEYS_DIR", &copy).ok();
    let opened =
        desk.lf(Default, "keys export --i-understand One").env("LENSERFIGHT_KEYS_DIR", &copy).ok();
    assert_eq!(opened.out, "value of One\n", "after {finished}");
    desk.is_well();
}

#[test]
fn a_copy_made_in_the_middle_comes_up_on_another_machine_with_the_old_sheet() {
    let desk = Desk::empty();
    desk.bus.store(&KEYCHAIN, PASSPHRASE);
    desk.add(Default, "One");
    desk.killed(Default, READY);
    let other = Desk::empty();
    fs::create_dir_all(other.home.path().join(".lenserfight")).unwrap();
    support::copy(&desk.home.keys(), &other.home.keys());
    other.lf(Default, "keys recovery import").input(SHEET).ok();
    other.opens(Default, "One");
    other.lf(Default, "keys rekey --undo").ok();
    other.lf(Default, "keys rotate --all").ok();
    other.lf(Default, "keys doctor").ok();
    other.opens(Default, "One");
}

#[test]
fn a_store_rolled_back_to_a_backup_two_rekeys_old_opens() {
    let desk = Desk::new();
    let backup = desk.home.copy();
    desk.lf(Default, "keys rekey").ok();
    desk.lf(Default, "keys rekey").ok();
    fs::remove_dir_all(desk.home.keys()).unwrap();
    fs::rename(&backup, desk.home.keys()).unwrap();
    desk.opens(Default, "One");
    let report = desk.lf(Default, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("lf keys rotate --all"), "{report}");
    desk.add(Default, "New");
    desk.opens(Default, "New");
    desk.is_well();
}

#[test]
fn no_hint_leads_into_a_circle_when_a_rekeys_passphrase_is_gone() {
    let desk = Desk::new();
    desk.killed(Default, READY);
    let id = fs::read_to_string(desk.home.keys().join(".rekey/id")).unwrap();
    let account = format!("rekey.{id}");
    desk.bus.run("secret-tool", &["clear", "service", SERVICE, "account", &account]);
    desk.both_open();
    let report = desk.lf(Default, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("lf keys rekey --undo"), "{report}");
    desk.lf(Default, "keys rekey --undo").ok();
    desk.is_well();
}

#[test]
fn a_rekey_of_the_first_version_that_was_cut_short_is_finished_or_undone() {
    let ends = ["keys rekey --finish", "keys rekey --undo", "keys rotate One", "keys rekey"];
    for end in rows(ends) {
        let desk = Desk::new();
        desk.killed(Default, READY);
        let id = desk.home.keys().join(".rekey/id");
        let account = format!("rekey.{}", fs::read_to_string(&id).unwrap());
        let next = desk.bus.lookup(SERVICE, &account);
        desk.bus.store(&["service", SERVICE, "account", "master.next"], &next);
        desk.bus.run("secret-tool", &["clear", "service", SERVICE, "account", &account]);
        fs::remove_file(id).unwrap();
        let old = desk.master();
        desk.lf(Default, end).ok();
        desk.both_open();
        if end.ends_with("--undo") {
            assert_eq!(desk.master(), old);
        }
        if end.ends_with("--finish") {
            assert_eq!(desk.master(), next);
        }
        desk.is_well();
        assert_eq!(desk.bus.lookup(SERVICE, "master.next"), "", "after {end}");
    }
}
