//! The programs that provide a Secret Service on people's desktops, each on a bus, a screen in memory and a
//! home of its own; and the person who answers their dialogs.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::bus::{self, Bus};
use super::{Home, Outcome, Run, end_traced, until};

/// What opens each of them.
const PASSWORD: &str = "a password";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    GnomeKeyring,
    KWallet,
    KeePassXC,
}

/// KeePassXC's setting `ConfirmAccessItem`: does it ask which client may have which entry?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Free,
    Asked,
    /// Not that, but whether an entry may be deleted for good: the database has no recycle bin.
    FreeButToDelete,
}

pub struct Provider {
    pub program: Program,
    access: Access,
    bus: Bus,
    dir: PathBuf,
    screen: Child,
    display: String,
    processes: Vec<Child>,
}

impl Provider {
    /// It is there, and has nothing that a secret could be kept in.
    pub fn without_collection(home: &Home, program: Program, access: Access) -> Provider {
        let bus = Bus::start(home);
        let mut xvfb = Command::new("Xvfb");
        xvfb.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]);
        let mut screen = bus::start(xvfb.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut number = String::new();
        BufReader::new(screen.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        let dir = home.path().join("session");
        let mut provider =
            Provider { program, access, bus, dir, screen, display, processes: Vec::new() };
        provider.start(false);
        provider
    }

    /// It is there and open, as after a login.
    pub fn open(home: &Home, program: Program, access: Access) -> Provider {
        let mut provider = Provider::without_collection(home, program, access);
        provider.stop();
        provider.make_collection();
        provider.restart();
        provider
    }

    /// What a person does once: makes the wallet or the database.
    pub fn make_collection(&mut self) {
        match self.program {
            // It makes its login keyring when it is first unlocked.
            Program::GnomeKeyring => {}
            Program::KWallet => {
                let dir = self.dir.join("data/kwalletd");
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("kdewallet.salt"), SALT).unwrap();
                // The list of wallets is read when it starts.
                self.start(false);
                self.open_wallet();
                self.stop();
            }
            Program::KeePassXC => {
                let xml = self.dir.join("database.xml");
                let has_bin = self.access != Access::FreeButToDelete;
                fs::write(&xml, DATABASE.replace("HAS_BIN", &has_bin.to_string())).unwrap();
                let (xml, database) = (xml.to_str().unwrap(), self.database());
                let import = ["import", "-q", "-p", "-t", "100", xml, &database];
                let mut import = self.bus.command("keepassxc-cli", &import);
                let mut import = bus::start(import.stdin(Stdio::piped()).stderr(Stdio::null()));
                let passwords = format!("{PASSWORD}\n{PASSWORD}\n");
                import.stdin.take().unwrap().write_all(passwords.as_bytes()).unwrap();
                assert!(import.wait().unwrap().success());
            }
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start(true);
    }

    pub fn stop(&mut self) {
        for mut process in self.processes.drain(..) {
            let ended = process.try_wait().unwrap();
            if ended.is_some_and(|status| status.signal().is_some()) {
                CRASHED.set(true);
            }
            end_traced(&mut process);
        }
    }

    /// Starts it as it is started at a login, with its collection open or not.
    fn start(&mut self, is_open: bool) {
        match self.program {
            Program::GnomeKeyring => {
                let arguments = ["--foreground", "--components=secrets"];
                let unlock = is_open.then_some("--unlock");
                self.spawn("gnome-keyring-daemon", &arguments, |daemon| {
                    daemon.args(unlock);
                });
            }
            Program::KWallet => {
                let dir = self.dir.join("home/.config");
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("kwalletrc"), KWALLETRC).unwrap();
                self.spawn("kwalletd5", &[], |_| {});
            }
            Program::KeePassXC => {
                let asks = self.access == Access::Asked;
                let text = format!("{KEEPASSXC_INI}ConfirmAccessItem={asks}\n");
                let settings = self.dir.join("keepassxc.ini");
                // It writes there too, and gives up its service for good where another one had the name.
                fs::write(&settings, text).unwrap();
                let settings = settings.to_str().unwrap();
                let database = self.database();
                let local = self.dir.join("local.ini");
                let mut arguments =
                    vec!["--config", settings, "--localconfig", local.to_str().unwrap()];
                if fs::exists(&database).unwrap() {
                    arguments.extend(["--pw-stdin", &database]);
                }
                self.spawn("keepassxc", &arguments, |_| {});
            }
        }
        // It has its name before it answers.
        let service = "/org/freedesktop/secrets";
        let alias = [service, "org.freedesktop.Secret.Service.ReadAlias"];
        until("the Secret Service", || {
            self.call("org.freedesktop.secrets", alias, &["string:default"]).status == Some(0)
        });
        if is_open {
            if self.program == Program::KWallet {
                self.open_wallet();
            }
            until("an open collection", || self.is_open());
        }
    }

    fn spawn(&mut self, program: &str, arguments: &[&str], adapt: impl FnOnce(&mut Command)) {
        let mut command = self.bus.command(program, arguments);
        adapt(&mut command);
        command.env("DISPLAY", &self.display).env("QT_QPA_PLATFORM", "xcb");
        // A look for a graphics driver, which no dialog needs, has ended KeePassXC at its start.
        command.env("QT_XCB_GL_INTEGRATION", "none");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = bus::start(&mut command);
        // gnome-keyring takes all of it for the password, and KeePassXC a line.
        let end = if self.program == Program::KeePassXC { "\n" } else { "" };
        // One that asks for no password is free not to read it.
        let _ = child.stdin.take().unwrap().write_all(format!("{PASSWORD}{end}").as_bytes());
        self.processes.push(child);
    }

    /// Opens the wallet as PAM does at a login; makes it where there is none.
    fn open_wallet(&self) {
        let hash: Vec<String> = WALLET_KEY.iter().map(u8::to_string).collect();
        let hash = format!("array:byte:{}", hash.join(","));
        let path = ["/modules/kwalletd5", "org.kde.KWallet.pamOpen"];
        self.call("org.kde.kwalletd5", path, &["string:kdewallet", &hash, "int32:0"]);
    }

    /// As a person does, or the screen saver.
    pub fn lock(&mut self) {
        match self.program {
            Program::GnomeKeyring => {
                self.bus.lock();
                // It shows the dialogs, and ends when it has had none for ten seconds.
                self.processes.drain(1..).for_each(|mut prompter| end_traced(&mut prompter));
                self.spawn("/usr/libexec/gcr-prompter", &[], |_| {});
                let prompter = "org.gnome.keyring.SystemPrompter";
                until("a prompter", || self.bus.owner(prompter).is_some());
            }
            Program::KWallet => {
                let path = ["/modules/kwalletd5", "org.kde.KWallet.close"];
                self.call("org.kde.kwalletd5", path, &["string:kdewallet", "boolean:true"]);
            }
            Program::KeePassXC => {
                let name = "org.keepassxc.KeePassXC.MainWindow";
                self.call(name, ["/keepassxc", &format!("{name}.lockAllDatabases")], &[]);
            }
        }
        until("a locked collection", || !self.is_open());
    }

    fn is_open(&self) -> bool {
        if self.program == Program::KWallet {
            // What the Secret Service says there is whether one of its own clients has opened the wallet.
            let path = ["/modules/kwalletd5", "org.kde.KWallet.isOpen"];
            let open = self.call("org.kde.kwalletd5", path, &["string:kdewallet"]);
            return open.out.contains("boolean true");
        }
        let default = "/org/freedesktop/secrets/aliases/default";
        let path = [default, "org.freedesktop.DBus.Properties.Get"];
        let property = ["string:org.freedesktop.Secret.Collection", "string:Locked"];
        self.call("org.freedesktop.secrets", path, &property).out.contains("boolean false")
    }

    fn call(&self, name: &str, path: [&str; 2], arguments: &[&str]) -> Outcome {
        let name = format!("--dest={name}");
        let call = ["--session", "--print-reply", &name, path[0], path[1]];
        self.bus.run("dbus-send", &[&call, arguments].concat())
    }

    fn database(&self) -> String {
        self.dir.join("database.kdbx").to_str().unwrap().to_owned()
    }

    /// Gives a run of `lf` the way to it.
    pub fn on(&self, run: Run) -> Run {
        self.bus.on(run)
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The title of the dialog that asks for the password.
    fn dialog(&self) -> &'static str {
        match self.program {
            Program::GnomeKeyring => "Unlock Login Keyring",
            Program::KWallet => "KDE Wallet Service",
            Program::KeePassXC => "Unlock Database",
        }
    }

    /// Answers the dialog with the password.
    pub fn confirm(&self) {
        self.answer(self.dialog(), Some(PASSWORD), &["Return"]);
    }

    pub fn cancel(&self) {
        self.answer(self.dialog(), None, &["Escape"]);
    }

    /// Answers KeePassXC's question who may have what: with its default, to be remembered.
    pub fn let_in(&self) {
        self.answer("Access Request", None, &["Return"]);
    }

    pub fn let_delete(&self) {
        self.answer(DELETE, None, &["Tab", "Return"]);
    }

    pub fn keep_from_deleting(&self) {
        self.answer(DELETE, None, &["Escape"]);
    }

    pub fn asks_whether_to_delete(&self) {
        until(DELETE, || !self.windows(DELETE).is_empty());
    }

    /// Waits for a window, and types until it is gone: a dialog that has only just appeared may miss it.
    fn answer(&self, title: &str, text: Option<&str>, keys: &[&str]) {
        until(title, || !self.windows(title).is_empty());
        until("an answered dialog", || {
            let Some(window) = self.windows(title).pop() else {
                return true;
            };
            self.xdotool(&["windowfocus", &window]);
            if let Some(text) = text {
                self.xdotool(&["key", "ctrl+a", "type", "--delay", "5", text]);
            }
            self.xdotool(&[&["key"], keys].concat());
            (0..40).any(|_| !self.windows(title).contains(&window))
        });
    }

    fn windows(&self, title: &str) -> Vec<String> {
        let found = self.xdotool(&["search", "--onlyvisible", "--name", title]);
        found.lines().map(str::to_owned).collect()
    }

    fn xdotool(&self, arguments: &[&str]) -> String {
        let mut xdotool = self.bus.command("xdotool", arguments);
        xdotool.env("DISPLAY", &self.display).stdout(Stdio::piped()).stderr(Stdio::null());
        let done = super::wait(bus::start(&mut xdotool));
        String::from_utf8(done.stdout).unwrap()
    }
}

thread_local! {
    static CRASHED: Cell<bool> = const { Cell::new(false) };
}

/// Starts a test again if what failed it was the crash of a provider: KeePassXC 2.7.4 does that now and then when an
/// entry changes while a thread of it saves the last change.
pub fn despite_crashes(test: impl Fn() + std::panic::UnwindSafe + std::panic::RefUnwindSafe) {
    for _ in 0..3 {
        CRASHED.set(false);
        let Err(panic) = catch_unwind(&test) else { return };
        if !CRASHED.get() {
            resume_unwind(panic);
        }
    }
    panic!("the provider crashed three times");
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
        let _ = self.screen.kill();
        let _ = self.screen.wait();
    }
}

const DELETE: &str = "Delete entry";
const KWALLETRC: &str = "\
[Wallet]
Enabled=true
First Use=false
Default Wallet=kdewallet
Use One Wallet=true
Launch Manager=false

[org.freedesktop.secrets]
apiEnabled=true
";
const SALT: [u8; 56] = {
    let mut salt = [0; 56];
    let mut at = 0;
    while at < salt.len() {
        salt[at] = at as u8;
        at += 1;
    }
    salt
};
/// PBKDF2-SHA512 of [`PASSWORD`] and [`SALT`], 50,000 rounds, 56 bytes: what PAM hands to KWallet.
const WALLET_KEY: [u8; 56] = [
    137, 250, 242, 240, 121, 179, 214, 6, 107, 52, 96, 39, 176, 17, 96, 141, 48, 42, 226, 245, 81,
    186, 123, 182, 31, 21, 53, 120, 70, 189, 235, 78, 53, 113, 187, 250, 41, 92, 235, 250, 249,
    244, 155, 88, 6, 93, 246, 165, 213, 223, 206, 96, 163, 88, 132, 79,
];
const KEEPASSXC_INI: &str = "\
[General]
ConfigVersion=2
UpdateCheckMessageShown=true
SingleInstance=false
RememberLastDatabases=false

[GUI]
CheckForUpdates=false
ShowTrayIcon=false

[FdoSecrets]
Enabled=true
ShowNotification=false
";
/// A database whose only group is there for the Secret Service.
const DATABASE: &str = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<KeePassFile>
<Meta><RecycleBinEnabled>HAS_BIN</RecycleBinEnabled><CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key>
<Value>{5d642fcc-aebf-4924-8ffe-e4bb917ed81b}</Value></Item></CustomData></Meta>
<Root><Group><UUID>XWQvzK6/SSSP/uS7kX7YGw==</UUID><Name>Passwords</Name></Group></Root>
</KeePassFile>
";
