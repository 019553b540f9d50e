//! The environment: where the keys are, where the passphrase may come from, the way to the keychain, and
//! any other variable by its name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fmt};

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::service::CREDENTIAL;

/// What environment variables say. An empty variable counts as unset.
pub struct Environment {
    lookup: Arc<Lookup>,
    /// Where the passphrase may come from.
    pub(crate) passphrase: Sources,
    /// The way to the keychain.
    pub(crate) bus: Bus,
}

/// What the environment says of the master passphrase; captured once, by the process's own room.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Reads `LENSERFIGHT_KEYS_PASSPHRASE`, unless empty: a process that lives long keeps no copy.
    pub(crate) variable: Arc<dyn Fn() -> Result<Option<Secret>> + Send + Sync>,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_FILE`, unless empty.
    pub(crate) file: Option<PathBuf>,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_COMMAND`, unless empty.
    pub(crate) command: Option<String>,
    /// `$CREDENTIALS_DIRECTORY/lenserfight-keys-passphrase`; need not exist.
    pub(crate) credential: Option<PathBuf>,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV` is on.
    pub(crate) force: bool,
}

/// The way to the session bus, from the environment; unused on macOS and Windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bus {
    /// `DBUS_SESSION_BUS_ADDRESS`, unless empty.
    pub(crate) address: Option<String>,
    /// `XDG_RUNTIME_DIR`, whose `bus` is the address otherwise.
    pub(crate) runtime_dir: Option<PathBuf>,
}

impl Environment {
    /// The variables of this process.
    pub fn read() -> Environment {
        Environment::of(|name| env::var_os(name))
    }

    /// Other variables than those of this process: `lookup` gives the value of a name, whenever one
    /// is needed.
    pub fn of(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Environment {
        let lookup = Arc::new(move |name: &str| lookup(name).filter(|value| !value.is_empty()));
        let (variable, path) = (Arc::clone(&lookup), |name| lookup(name).map(PathBuf::from));
        let text = |name| lookup(name).map(|value| value.to_string_lossy().into_owned());
        let address = lookup("DBUS_SESSION_BUS_ADDRESS");
        Environment {
            bus: Bus {
                address: address.and_then(|address| address.into_string().ok()),
                runtime_dir: path("XDG_RUNTIME_DIR"),
            },
            passphrase: Sources {
                file: path(PASSPHRASE_VARIABLES[1]),
                command: text(PASSPHRASE_VARIABLES[3]),
                credential: path("CREDENTIALS_DIRECTORY").map(|dir| dir.join(CREDENTIAL)),
                force: text(SWITCHES[0]).is_some_and(|value| switch(&value) == Some(true)),
                variable: Arc::new(move || {
                    let name = PASSPHRASE_VARIABLES[0];
                    let secret = |text: OsString| Secret::from_bytes(text.into_encoded_bytes());
                    let invalid = || Error::PassphraseInvalid(format!("{name} is not UTF-8 text"));
                    variable(name).map(|text| secret(text).ok_or_else(invalid)).transpose()
                }),
            },
            lookup,
        }
    }

    /// The value of a variable, if it is set.
    pub(crate) fn value(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name)
    }

    /// The same as a secret; an error if it is not text.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let value = self.value(name).map(OsString::into_encoded_bytes);
        value.map(|bytes| Secret::from_bytes(bytes).ok_or(Error::InvalidKey)).transpose()
    }

    /// The same as text, which is empty if it is unset.
    pub(crate) fn text(&self, name: &str) -> String {
        self.value(name).unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Is this switch on?
    pub(crate) fn is_on(&self, name: &str) -> bool {
        switch(&self.text(name)) == Some(true)
    }

    /// An error that names a switch whose name begins so, if it is set and neither on nor off.
    pub(crate) fn check_switches(&self, beginning: &str) -> Result<()> {
        let mut given = SWITCHES.iter().filter(|name| self.value(name).is_some());
        let is_unclear =
            |name: &&&str| name.starts_with(beginning) && switch(&self.text(name)).is_none();
        given.find(is_unclear).map_or(Ok(()), |name| {
            let sentence = "must be on (1, yes, true, on) or off (0, no, false, off)";
            Err(Error::usage(format!("{name} {sentence}")))
        })
    }

    /// Where everything of ours is: `$LENSERFIGHT_RUNTIME_DIR`, else `~/.lenserfight`.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        let root = self.path("LENSERFIGHT_RUNTIME_DIR").or_else(|| self.default_root());
        let neither = format!("neither {HOME} nor LENSERFIGHT_RUNTIME_DIR says where the keys are");
        root.ok_or_else(|| Error::usage(neither))
    }

    /// `~/.lenserfight`, if there is a home.
    pub(crate) fn default_root(&self) -> Option<PathBuf> {
        self.home().ok().map(|home| home.join(".lenserfight"))
    }

    /// The root, and the default one: the predecessor's files may be in either.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let mut roots = Vec::from_iter(self.root().ok().into_iter().chain(self.default_root()));
        roots.dedup();
        roots
    }

    /// Where the keys are: `$LENSERFIGHT_KEYS_DIR`, else `keys` in the root.
    ///
    /// # Errors
    /// As [`Environment::root`].
    pub fn keys(&self) -> Result<PathBuf> {
        self.path("LENSERFIGHT_KEYS_DIR").map_or_else(|| Ok(self.root()?.join("keys")), Ok)
    }

    /// Where programs of this user have their configuration: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) fn config(&self) -> Result<PathBuf> {
        let below_home = || Ok(self.home()?.join(".config"));
        let given = self.path("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        given.map_or_else(below_home, Ok)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Result<PathBuf> {
        let unset = || Error::usage(format!("{HOME} does not say where your files are"));
        self.path(HOME).ok_or_else(unset)
    }

    /// The path that a variable has, if it is set.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }
}

/// Gives the value of a variable, if it is set.
type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

/// Is a switch on or off? `None` if its value says neither.
fn switch(value: &str) -> Option<bool> {
    match &*value.to_ascii_lowercase() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Where programs are looked for; what the C libraries take where nobody has set it.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// The machine's own name.
#[cfg(windows)]
pub(crate) fn machine_name() -> String {
    env::var_os("COMPUTERNAME").unwrap_or_default().to_string_lossy().into_owned()
}

/// How the names of programs end on Windows.
#[cfg(windows)]
pub(crate) fn endings() -> Vec<String> {
    let given = env::var_os("PATHEXT").unwrap_or_else(|| ".COM;.EXE;.BAT;.CMD".into());
    given.to_string_lossy().split(';').map(str::to_owned).collect()
}

/// What holds the master passphrase, names the file that does, prefers them to the keychain, and names
/// the command that prints it.
pub(crate) const PASSPHRASE_VARIABLES: [&str; 4] = [
    "LENSERFIGHT_KEYS_PASSPHRASE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FILE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV",
    "LENSERFIGHT_KEYS_PASSPHRASE_COMMAND",
];
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
/// Variables that are on or off.
const SWITCHES: [&str; 5] = [
    PASSPHRASE_VARIABLES[2],
    "LF_GATEWAY_KEYS_ONLY",
    "LF_GATEWAY_TAILSCALE",
    "LF_GATEWAY_OWNER_PAUSED",
    "LF_GATEWAY_GLOBAL_KILL_SWITCH",
];
/// One of these is enough for a session with the cloud.
pub(crate) const SESSION_VARIABLES: [&str; 3] =
    ["LENSERFIGHT_API_KEY", "SUPABASE_ACCESS_TOKEN", "LF_ACCESS_TOKEN"];
