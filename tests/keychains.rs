//! What `lf` answers with each program that provides a Secret Service on people's desktops, in each state
//! that it can be in: gnome-keyring, KWallet and KeePassXC, with their dialogs, on a screen in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use local_keys::{Keychain, Patience};
use support::bus::environment;
use support::provider::{Access, Program, Provider, despite_crashes};
use support::pty::Terminal;
use support::{Home, PASSPHRASE, Run, VALUE};

/// | state         | where lf runs | the person  | code, exit               | says                        |
/// |---------------|---------------|-------------|--------------------------|-----------------------------|
/// | no collection | no terminal   | –           | `keychain_unavailable` 1 | no default collection       |
/// | unlocked      | no terminal   | –           | 0                        | –                           |
/// | locked        | no terminal   | is not here | `keychain_unavailable` 1 | nobody answered, after 3 s  |
/// | cancelled     | a terminal    | cancels     | `keychain_unavailable` 1 | waiting; it is locked       |
/// | confirmed     | a terminal    | confirms    | 0                        | waiting                     |
/// | ignored       | a terminal    | does nothing| `keychain_unavailable` 1 | waiting; nobody answered    |
/// | ignored, and a passphrase in the environment | a terminal | does nothing | 0 | –, after 3 s         |
/// | gone          | no terminal   | –           | `keychain_unavailable` 1 | no program on this bus      |
/// | restarted     | no terminal   | –           | 0                        | –                           |
///
/// Every cell is the same for the three of them, and in none of them is a passphrase or a key lost.
#[test]
fn every_provider_answers_in_every_state() {
    thread::scope(|scope| {
        let run = |program| scope.spawn(move || despite_crashes(move || matrix(program)));
        let runs = [Program::GnomeKeyring, Program::KWallet, Program::KeePassXC].map(run);
        for (program, run) in ["gnome-keyring", "KWallet", "KeePassXC"].iter().zip(runs) {
            assert!(run.join().is_ok(), "{program}: see above");
        }
    });
}

fn matrix(program: Program) {
    let desk = Desk::without_collection(program);
    for arguments in ["keys init", "keys init --force --yes", ADD] {
        let none = desk.lf(arguments).input(VALUE).fails(1, "keychain_unavailable");
        assert!(none.err.contains("no default collection"), "{none}");
    }
    assert!(!desk.home.keys().exists());
    let mut desk = desk.with_collection();

    // Unlocked: everything works, and what it leaves is what the other states must leave alone.
    desk.lf("keys init").ok();
    desk.lf(ADD).input(VALUE).ok();
    desk.lf("keys rotate Prod").ok();
    desk.lf("keys rekey").ok();
    desk.lf("keys doctor").ok();
    let passphrase = desk.passphrase();
    let names = desk.home.names();

    desk.provider.lock();
    let env = |run: Run| run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
    let elsewhere = desk.home.path().join("elsewhere");
    let mut terminal = desk.terminal("keys init --force --yes");
    terminal.sees(WAITING);
    desk.provider.cancel();
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(1), "{screen}");
    assert!(screen.contains("keychain_unavailable") && screen.contains("it is locked"), "{screen}");

    desk.confirms(RECOVERY, &passphrase);
    assert_eq!(desk.passphrase(), passphrase);

    desk.provider.lock();
    for arguments in [EXPORT, "keys init --force --yes"] {
        let locked = in_time(|| desk.lf(arguments).fails(1, "keychain_unavailable"));
        // On a machine that is busy enough the program itself answers too late, and shows nothing.
        if !locked.err.contains("no answer in time") {
            assert!(locked.err.contains("it is locked, and nobody answered"), "{locked}");
            desk.provider.cancel();
        }
    }

    // A minute, in which others get their answers.
    let mut ignored = desk.terminal(EXPORT);
    ignored.sees(WAITING);
    in_time(|| desk.lf(EXPORT).fails(1, "keychain_unavailable"));
    in_time(|| {
        let run =
            env(desk.provider.on(desk.home.bare(ADD))).env("LENSERFIGHT_KEYS_DIR", &elsewhere);
        // What is typed is the person's; a passphrase in the environment makes the dialog nobody's.
        let mut terminal = Terminal::start(&run.at_terminal());
        terminal.sees("(not shown, end with Enter): ").types(VALUE).types("\r");
        let (status, screen) = terminal.ends();
        assert_eq!((status, screen.contains(WAITING)), (Some(0), false), "{screen}");
    });
    ignored.sees("nobody answered its dialog");
    let (status, screen) = ignored.ends();
    assert_eq!((status, screen.matches(WAITING).count()), (Some(1), 1), "{screen}");

    // The same keychain of a process that lives on.
    let ours = Keychain::new(&environment(&desk.provider.bus().socket()), Patience::SHORT);
    desk.provider.stop();
    let gone = desk.lf(EXPORT).fails(1, "keychain_unavailable");
    assert!(gone.err.contains("no program on this bus"), "{gone}");
    assert!(ours.find("lenserfight-keys", "master").is_err());
    desk.provider.restart();
    let found = ours.find("lenserfight-keys", "master").unwrap();
    assert!(found.is_some());
    assert_eq!(desk.passphrase(), passphrase, "no state has cost a passphrase");
    assert_eq!(desk.home.names(), names, "no state has cost a key, or left anything");
    assert_eq!(desk.lf(EXPORT).ok().out, format!("{VALUE}\n"));
    desk.lf("keys doctor").ok();
    desk.provider.restart();
    assert_eq!(
        ours.find("lenserfight-keys", "master").unwrap().unwrap().expose(),
        found.unwrap().expose()
    );
}

/// KeePassXC asks about every connection, and again about whoever overwrites what it has not been asked about.
#[test]
fn a_command_asks_keepassxc_once() {
    despite_crashes(asks_once);
}

fn asks_once() {
    let desk = Desk::open(Program::KeePassXC, Access::Asked);
    desk.lf("keys init").ok();
    let asked = |arguments: &str| {
        // A rotate that keeps the value refuses one.
        let value = if arguments.starts_with("keys rotate") { "" } else { VALUE };
        let command = format!("printf '{value}' | {} {arguments}", support::lf()[0].display());
        // The value comes through a pipe, and there is a person all the same.
        let run = desk.provider.on(desk.home.program(&["sh", "-c", &command]));
        let mut terminal = Terminal::start(&run.at_terminal());
        terminal.sees(WAITING);
        desk.provider.let_in();
        let (status, screen) = terminal.ends();
        assert_eq!(
            (status, screen.matches(WAITING).count()),
            (Some(0), 1),
            "{arguments}: {screen}"
        );
    };
    asked(ADD);
    asked("keys rotate Prod");
    asked("keys update Prod --rotate");
    asked("keys rekey");
    asked("keys rekey");
    asked("keys rotate --all");
    asked(EXPORT);
    asked("keys doctor");
}

/// Who says no, or nothing, loses nothing: the next command asks again.
#[test]
fn the_store_is_free_while_keepassxc_asks_whether_to_delete() {
    despite_crashes(free_while_it_asks);
}

fn free_while_it_asks() {
    let desk = Desk::open(Program::KeePassXC, Access::FreeButToDelete);
    desk.lf("keys init").ok();
    desk.lf(ADD).input(VALUE).ok();
    let run = desk.lf("keys rekey");
    let rekey = run.start();
    desk.provider.asks_whether_to_delete();
    drop(support::lock(&desk.home.keys()));
    desk.provider.keep_from_deleting();
    let outcome = run.finish(rekey);
    assert_eq!(outcome.status, Some(0), "{outcome}");
    let run = desk.lf(EXPORT);
    let export = run.start();
    desk.provider.asks_whether_to_delete();
    desk.provider.let_delete();
    assert_eq!(run.finish(export).out, format!("{VALUE}\n"));
    desk.lf("keys doctor").ok();
    assert_eq!(desk.home.names().len(), 1);
}

/// `Prompt.Dismiss` makes gnome-keyring 42.1 abort.
#[test]
fn a_dialog_that_nobody_needs_is_dismissed_where_that_is_safe() {
    thread::scope(|scope| {
        for (program, dismissals) in
            [(Program::GnomeKeyring, 0), (Program::KWallet, 1), (Program::KeePassXC, 1)]
        {
            scope.spawn(move || {
                despite_crashes(move || {
                    let mut desk = Desk::open(program, Access::Free);
                    desk.lf("keys init").ok();
                    let passphrase = desk.passphrase();
                    desk.provider.lock();
                    // The first dialog takes its time.
                    desk.confirms(RECOVERY, &passphrase);
                    desk.provider.lock();
                    let log = desk.home.path().join("strace.log");
                    let strace =
                        ["strace", "-f", "-qq", "-s", "400", "-e", "trace=sendto,write", "-o"];
                    let strace = [&strace[..], &[log.to_str().unwrap()]].concat();
                    let dismissed = || {
                        desk.lf(RECOVERY).under(&strace).fails(1, "keychain_unavailable");
                        let said = fs::read_to_string(&log).unwrap();
                        said.matches("Dismiss").count()
                    };
                    // Where the bus is too busy to say who provides the service, none is dismissed.
                    let enough = (0..3).map(|_| dismissed()).find(|count| *count >= dismissals);
                    let said = fs::read_to_string(&log).unwrap();
                    assert_eq!(enough, Some(dismissals), "{program:?}: {said}");
                    desk.provider.confirm();
                    assert_eq!(desk.passphrase(), passphrase, "it lives, and has what it had");
                });
            });
        }
    });
}

/// The three seconds of the rule and what a loaded machine adds, but not the minute that a person is given.
fn in_time<T>(act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = act();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    done
}

struct Desk {
    home: Home,
    provider: Provider,
}

impl Desk {
    fn without_collection(program: Program) -> Desk {
        let home = Home::new();
        let provider = Provider::without_collection(&home, program, Access::Free);
        Desk { home, provider }
    }

    fn with_collection(mut self) -> Desk {
        self.provider.stop();
        self.provider.make_collection();
        self.provider.restart();
        self
    }

    fn open(program: Program, access: Access) -> Desk {
        let home = Home::new();
        let provider = Provider::open(&home, program, access);
        Desk { home, provider }
    }

    fn lf(&self, arguments: &str) -> Run {
        self.provider.on(self.home.bare(arguments)).off_terminal()
    }

    fn terminal(&self, arguments: &str) -> Terminal {
        Terminal::start(&self.provider.on(self.home.bare(arguments)).at_terminal())
    }

    /// At a terminal somebody answers the dialog, so this goes on, and prints something.
    fn confirms(&self, arguments: &str, text: &str) {
        let mut terminal = self.terminal(arguments);
        terminal.sees(WAITING);
        self.provider.confirm();
        let (status, screen) = terminal.ends();
        assert_eq!((status, screen.matches(WAITING).count()), (Some(0), 1), "{screen}");
        assert!(screen.contains(text), "{screen}");
    }

    /// The master passphrase that the keychain has.
    fn passphrase(&self) -> String {
        let sheet = self.lf(RECOVERY).ok();
        sheet.out.lines().last().unwrap().to_owned()
    }
}

const ADD: &str = "keys add --provider openai --label Prod";
const EXPORT: &str = "keys export Prod --i-understand";
const RECOVERY: &str = "keys recovery export --i-understand";
const WAITING: &str = "waits for up to 60 seconds";
