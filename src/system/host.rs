//! The process: its arguments, its environment, its three streams, and its defences.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::error::{Error, Result};
#[cfg(unix)]
use crate::system::kernel::signal;
use crate::system::service::CREDENTIAL;

/// Makes this process a poor source of secrets, before it has any: no core dumps, no tracing by the
/// same user (Linux: `PR_SET_DUMPABLE`), and files that only their owner can read.
/// (tests/secrecy.rs: `the_process_hardens_itself_before_it_does_anything`)
///
/// Best effort: a sandbox that forbids one of these is no reason to refuse work.
#[cfg(unix)]
pub fn harden() {
    use rustix::process::{Resource, Rlimit};
    let core = rustix::process::getrlimit(Resource::Core);
    // The maximum stays, because nobody could raise it again for a program that takes our place.
    let none = Rlimit {
        current: Some(0),
        ..core
    };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // A file that may not grow is an error to report, and no reason to die without a word.
    // (tests/disk.rs: `a_limit_on_file_sizes_is_an_error_and_loses_nothing`)
    let _ = signal::survive_file_limit();
    let umask = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let _ = BEFORE.set((core, umask));
}

/// Gives back what [`harden`] has changed and `execve` would hand on; signal handlers and
/// `PR_SET_DUMPABLE` end with the program that set them. (tests/run.rs:
/// `the_program_finds_the_process_as_a_shell_would_hand_it_over`)
#[cfg(unix)]
pub fn soften() {
    if let Some((core, umask)) = BEFORE.get() {
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, *core);
        rustix::process::umask(*umask);
    }
}

/// The limit on core dumps and the umask that this process was started with.
#[cfg(unix)]
static BEFORE: OnceLock<(rustix::process::Rlimit, rustix::fs::Mode)> = OnceLock::new();

/// Nothing of the kind exists here.
#[cfg(not(unix))]
pub fn harden() {}

/// As many open files as the system allows: a server that runs out of them answers nobody.
#[cfg(unix)]
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit};
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

/// The machine's own name.
#[cfg(unix)]
#[must_use]
pub fn machine_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The arguments after the program's name.
#[must_use]
pub fn args() -> Vec<OsString> {
    env::args_os().skip(1).collect()
}

/// What environment variables say of the store, the passphrase and the keychain. An empty variable
/// counts as unset.
#[derive(Debug, Default)]
pub struct Environment {
    home: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    keys_dir: Option<PathBuf>,
    config: Option<PathBuf>,
    /// Where the passphrase may come from.
    pub passphrase: Sources,
    /// The way to the keychain.
    pub bus: Bus,
    /// May output be coloured, as far as the environment has a say?
    pub colour: bool,
    /// What concerns the gateway alone.
    pub gateway: GatewayVariables,
}

/// What the environment says of the master passphrase; captured once, by the process's own room.
#[derive(Clone)]
pub struct Sources {
    /// Reads `LENSERFIGHT_KEYS_PASSPHRASE`, unless empty: a process that lives long keeps no copy.
    pub variable: std::sync::Arc<dyn Fn() -> Option<OsString> + Send + Sync>,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_FILE`, unless empty.
    pub file: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY/lenserfight-keys-passphrase`; need not exist.
    pub credential: Option<PathBuf>,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV` is `1`.
    pub force: bool,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources {
            variable: std::sync::Arc::new(|| None),
            file: None,
            credential: None,
            force: false,
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(..)")
    }
}

/// The way to the session bus, from the environment; unused on macOS and Windows.
#[derive(Clone, Debug, Default)]
pub struct Bus {
    /// `DBUS_SESSION_BUS_ADDRESS`, unless empty.
    pub address: Option<String>,
    /// `XDG_RUNTIME_DIR`, whose `bus` is the address otherwise.
    pub runtime_dir: Option<PathBuf>,
}

/// Variables of `lf gateway`.
#[derive(Debug, Default)]
pub struct GatewayVariables {
    /// `LF_GATEWAY_BIND`
    pub bind: Option<String>,
    /// `LF_GATEWAY_PORT`
    pub port: Option<String>,
    /// `LF_GATEWAY_KEYS_ONLY` is 1.
    pub keys_only: bool,
    /// `LF_GATEWAY_TAILSCALE` is 1.
    pub tailscale: bool,
    /// `LF_GATEWAY_EXTRA_ORIGINS`
    pub extra_origins: String,
    /// `LF_GATEWAY_EXTRA_HOSTS`
    pub extra_hosts: String,
    /// `SUPABASE_SERVICE_ROLE_KEY` is set.
    pub has_service_role: bool,
    /// One of the session variables is set.
    pub has_session: bool,
    /// `LF_GATEWAY_OWNER_PAUSED` is 1.
    pub is_paused: bool,
    /// `LF_GATEWAY_GLOBAL_KILL_SWITCH` is 1.
    pub is_killed: bool,
    /// `NOTIFY_SOCKET`: where a service manager waits for news.
    pub notify: Option<OsString>,
    /// `LISTEN_PID` and `LISTEN_FDS`: for whom a service manager opened sockets, and how many.
    pub listen: Option<(String, String)>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn read() -> Environment {
        Environment {
            gateway: GatewayVariables::read(),
            colour: variable("NO_COLOR").is_none()
                && variable("TERM").is_none_or(|term| term != "dumb"),
            ..Environment::of(|name| env::var_os(name))
        }
    }

    /// Other variables than those of this process: `lookup` gives the value of a name. It is asked
    /// here, and again for `LENSERFIGHT_KEYS_PASSPHRASE` whenever the passphrase is looked for.
    #[must_use]
    pub fn of(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Environment {
        let variable = move |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name| variable(name).map(PathBuf::from);
        Environment {
            home: path(if cfg!(windows) { "USERPROFILE" } else { "HOME" }),
            runtime_dir: path("LENSERFIGHT_RUNTIME_DIR"),
            keys_dir: path("LENSERFIGHT_KEYS_DIR"),
            config: path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()),
            bus: Bus {
                address: variable("DBUS_SESSION_BUS_ADDRESS")
                    .and_then(|address| address.into_string().ok()),
                runtime_dir: path("XDG_RUNTIME_DIR"),
            },
            passphrase: Sources {
                file: path(PASSPHRASE_VARIABLES[1]),
                credential: path("CREDENTIALS_DIRECTORY").map(|dir| dir.join(CREDENTIAL)),
                force: variable(PASSPHRASE_VARIABLES[2]).is_some_and(|value| value == "1"),
                variable: std::sync::Arc::new(move || variable(PASSPHRASE_VARIABLES[0])),
            },
            ..Environment::default()
        }
    }

    /// Where everything of ours is: `$LENSERFIGHT_RUNTIME_DIR`, else `~/.lenserfight`.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no home to put it in.
    pub fn root(&self) -> Result<PathBuf> {
        let home = || self.home.as_ref().map(|home| home.join(".lenserfight"));
        let neither =
            || Error::usage("neither HOME nor LENSERFIGHT_RUNTIME_DIR says where the keys are");
        self.runtime_dir.clone().or_else(home).ok_or_else(neither)
    }

    /// Where the keys are: `$LENSERFIGHT_KEYS_DIR`, else `keys` in the root.
    ///
    /// # Errors
    /// As [`Environment::root`].
    pub fn keys(&self) -> Result<PathBuf> {
        match &self.keys_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.root()?.join("keys")),
        }
    }

    /// Where programs of this user have their configuration: `$XDG_CONFIG_HOME`, else `~/.config`.
    ///
    /// # Errors
    /// [`Error::Usage`] without a home.
    pub fn config(&self) -> Result<PathBuf> {
        match &self.config {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.home()?.join(".config")),
        }
    }

    /// The user's home.
    ///
    /// # Errors
    /// [`Error::Usage`] without one.
    pub fn home(&self) -> Result<PathBuf> {
        let home = self.home.clone();
        home.ok_or_else(|| Error::usage("HOME does not say where this user's files are"))
    }

    /// The variables that say where things are, as far as they are set, by absolute paths.
    #[must_use]
    pub fn places(&self) -> Vec<(&'static str, PathBuf)> {
        let places = [
            ("LENSERFIGHT_RUNTIME_DIR", &self.runtime_dir),
            ("LENSERFIGHT_KEYS_DIR", &self.keys_dir),
            (PASSPHRASE_VARIABLES[1], &self.passphrase.file),
        ];
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let set = places
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.as_ref()?)));
        set.map(|(name, path)| (name, absolute(path))).collect()
    }
}

/// The absolute path that this program was called by, with the links in it as they are: they go on
/// leading to the newest version (Homebrew, Nix). Where that does not lead here, the file itself.
pub fn program() -> Result<PathBuf> {
    let failed = |error| Error::from_io("find", "this program".as_ref(), error);
    let name = env::args_os().next().unwrap_or_default();
    let file = env::current_exe().map_err(failed)?;
    let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let called = match Path::new(&name).parent() {
        Some(dir) if dir.as_os_str().is_empty() => env::split_paths(&path)
            .map(|dir| dir.join(&name))
            .find(|path| path.is_file()),
        _ => Some(name.into()),
    };
    let called = called.filter(|path| real(path).is_some_and(|path| real(&file) == Some(path)));
    std::path::absolute(called.unwrap_or(file)).map_err(failed)
}

impl GatewayVariables {
    fn read() -> GatewayVariables {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let is_one = |name| variable(name).is_some_and(|value| value == "1");
        let sessions = [
            "LENSERFIGHT_API_KEY",
            "SUPABASE_ACCESS_TOKEN",
            "LF_ACCESS_TOKEN",
        ];
        GatewayVariables {
            bind: text("LF_GATEWAY_BIND"),
            port: text("LF_GATEWAY_PORT"),
            keys_only: is_one("LF_GATEWAY_KEYS_ONLY"),
            tailscale: is_one("LF_GATEWAY_TAILSCALE"),
            extra_origins: text("LF_GATEWAY_EXTRA_ORIGINS").unwrap_or_default(),
            extra_hosts: text("LF_GATEWAY_EXTRA_HOSTS").unwrap_or_default(),
            has_service_role: variable("SUPABASE_SERVICE_ROLE_KEY").is_some(),
            has_session: sessions.into_iter().any(|name| variable(name).is_some()),
            is_paused: is_one("LF_GATEWAY_OWNER_PAUSED"),
            is_killed: is_one("LF_GATEWAY_GLOBAL_KILL_SWITCH"),
            notify: variable("NOTIFY_SOCKET"),
            listen: text("LISTEN_PID").zip(text("LISTEN_FDS")),
        }
    }
}

/// Is this variable set, and not empty?
#[must_use]
pub fn is_set(name: &str) -> bool {
    variable(name).is_some()
}

/// Where programs are looked for; what the C libraries take where nobody has set it.
#[cfg(unix)]
#[must_use]
pub fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The secret in a variable that somebody names; `None` if it is unset or empty.
///
/// # Errors
/// [`Error::InvalidKey`] if it is not UTF-8.
pub fn secret_variable(name: &str) -> Result<Option<Secret>> {
    let secret =
        |value: OsString| Secret::from_bytes(value.into_encoded_bytes()).ok_or(Error::InvalidKey);
    variable(name).map(secret).transpose()
}

/// What holds the master passphrase, names the file that does, and prefers both to the keychain.
pub const PASSPHRASE_VARIABLES: [&str; 3] = [
    "LENSERFIGHT_KEYS_PASSPHRASE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FILE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV",
];

/// Can a person type here, and see what we ask?
#[must_use]
pub fn has_person() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Is standard input a terminal?
#[must_use]
pub fn input_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Is standard output a terminal?
#[must_use]
pub fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Is standard error a terminal?
#[must_use]
pub fn errors_are_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Up to `limit` + 1 bytes of standard input, so that the caller sees when there are more than
/// `limit`. Read without std's buffer, which would keep a copy.
///
/// # Errors
/// What the system says.
pub fn read_input(limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    // All of it from the start, because growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    input()
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Error::from_io("read", "standard input".as_ref(), error))?;
    Ok(bytes)
}

/// Standard input as a file of its own, unbuffered.
///
/// # Errors
/// What the system says.
pub fn input() -> io::Result<File> {
    #[cfg(unix)]
    return Ok(std::os::fd::AsFd::as_fd(&io::stdin())
        .try_clone_to_owned()?
        .into());
    #[cfg(windows)]
    return Ok(std::os::windows::io::AsHandle::as_handle(&io::stdin())
        .try_clone_to_owned()?
        .into());
}

/// Standard output as a file of its own, unbuffered.
///
/// # Errors
/// What the system says.
pub fn output() -> io::Result<File> {
    #[cfg(unix)]
    return Ok(std::os::fd::AsFd::as_fd(&io::stdout())
        .try_clone_to_owned()?
        .into());
    #[cfg(windows)]
    return Ok(std::os::windows::io::AsHandle::as_handle(&io::stdout())
        .try_clone_to_owned()?
        .into());
}

/// Writes to standard output, all of it or an error, unbuffered.
///
/// # Errors
/// [`Error::Output`].
pub fn print(text: &str) -> Result<()> {
    output()
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::Output)
}

/// As [`print`], for what is only there to be looked at: whoever closed the pipe, such as `head`, has
/// seen enough.
///
/// # Errors
/// As [`print`].
pub fn show(text: &str) -> Result<()> {
    match print(text) {
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Writes to standard error; when that fails there is nobody left to tell.
pub fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
