//! The environment: where the keys are, where the passphrase may come from, the way to the keychain, and
//! what concerns the gateway.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::service::CREDENTIAL;

/// What environment variables say of the store, the passphrase and the keychain. An empty variable
/// counts as unset.
#[derive(Debug)]
pub struct Environment {
    home: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    keys_dir: Option<PathBuf>,
    config: Option<PathBuf>,
    /// Where the passphrase may come from.
    pub(crate) passphrase: Sources,
    /// The way to the keychain.
    pub(crate) bus: Bus,
    /// May output be coloured, as far as the environment has a say?
    pub(crate) colour: bool,
    /// What concerns the gateway alone.
    pub(crate) gateway: GatewayVariables,
    /// The switches that are set to something that is neither on nor off.
    unclear: Vec<&'static str>,
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

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(..)")
    }
}

/// The way to the session bus, from the environment; unused on macOS and Windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bus {
    /// `DBUS_SESSION_BUS_ADDRESS`, unless empty.
    pub(crate) address: Option<String>,
    /// `XDG_RUNTIME_DIR`, whose `bus` is the address otherwise.
    pub(crate) runtime_dir: Option<PathBuf>,
}

/// Variables of `lf gateway`.
#[derive(Debug)]
pub(crate) struct GatewayVariables {
    /// `LF_GATEWAY_BIND`
    pub(crate) bind: Option<String>,
    /// `LF_GATEWAY_PORT`
    pub(crate) port: Option<String>,
    /// `LF_GATEWAY_KEYS_ONLY` is on.
    pub(crate) keys_only: bool,
    /// `LF_GATEWAY_TAILSCALE` is on.
    pub(crate) tailscale: bool,
    /// `LF_GATEWAY_EXTRA_ORIGINS`
    pub(crate) extra_origins: String,
    /// `LF_GATEWAY_EXTRA_HOSTS`
    pub(crate) extra_hosts: String,
    /// `SUPABASE_SERVICE_ROLE_KEY` is set.
    pub(crate) has_service_role: bool,
    /// One of the session variables is set.
    pub(crate) has_session: bool,
    /// `LF_PROFILE`, the name of the predecessor's profile that is to be used.
    pub(crate) profile: Option<String>,
    /// `LF_GATEWAY_OWNER_PAUSED` is on.
    pub(crate) is_paused: bool,
    /// `LF_GATEWAY_GLOBAL_KILL_SWITCH` is on.
    pub(crate) is_killed: bool,
    /// `NOTIFY_SOCKET`: where a service manager waits for news.
    pub(crate) notify: Option<OsString>,
    /// `LISTEN_PID` and `LISTEN_FDS`: for whom a service manager opened sockets, and how many.
    pub(crate) listen: Option<(String, String)>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn read() -> Environment {
        Environment::of(|name| env::var_os(name))
    }

    /// Other variables than those of this process: `lookup` gives the value of a name. It is asked
    /// here, and again for `LENSERFIGHT_KEYS_PASSPHRASE` whenever the passphrase is looked for.
    #[must_use]
    pub fn of(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Environment {
        let variable = move |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name| variable(name).map(PathBuf::from);
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
        let is_on = |name| variable(name).is_some_and(|value| switch(&value) == Some(true));
        let is_unclear = |name: &&str| variable(name).is_some_and(|it| switch(&it).is_none());
        let is_any = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
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
            colour: variable("NO_COLOR").is_none() && !is_dumb,
            unclear: SWITCHES.into_iter().filter(is_unclear).collect(),
            gateway: GatewayVariables {
                bind: text("LF_GATEWAY_BIND"),
                port: text("LF_GATEWAY_PORT"),
                keys_only: is_on(SWITCHES[1]),
                tailscale: is_on(SWITCHES[2]),
                extra_origins: text("LF_GATEWAY_EXTRA_ORIGINS").unwrap_or_default(),
                extra_hosts: text("LF_GATEWAY_EXTRA_HOSTS").unwrap_or_default(),
                has_service_role: is_any(&["SUPABASE_SERVICE_ROLE_KEY"]),
                has_session: is_any(&SESSION_VARIABLES),
                profile: text("LF_PROFILE"),
                is_paused: is_on(SWITCHES[3]),
                is_killed: is_on(SWITCHES[4]),
                notify: variable("NOTIFY_SOCKET"),
                listen: text("LISTEN_PID").zip(text("LISTEN_FDS")),
            },
            passphrase: Sources {
                file: path(PASSPHRASE_VARIABLES[1]),
                command: text(PASSPHRASE_VARIABLES[3]),
                credential: path("CREDENTIALS_DIRECTORY").map(|dir| dir.join(CREDENTIAL)),
                force: is_on(SWITCHES[0]),
                variable: Arc::new(move || {
                    let name = PASSPHRASE_VARIABLES[0];
                    let secret = |text: OsString| Secret::from_bytes(text.into_encoded_bytes());
                    let invalid = || Error::PassphraseInvalid(format!("{name} is not UTF-8 text"));
                    variable(name).map(|text| secret(text).ok_or_else(invalid)).transpose()
                }),
            },
        }
    }

    /// An error that names a switch whose name begins so, if it is set and neither on nor off.
    pub(crate) fn check_switches(&self, beginning: &str) -> Result<()> {
        let unclear = self.unclear.iter().find(|name| name.starts_with(beginning));
        unclear.map_or(Ok(()), |name| {
            let sentence = "is neither on (1, yes, true, on) nor off (0, no, false, off)";
            Err(Error::usage(format!("{name} {sentence}")))
        })
    }

    /// Where everything of ours is: `$LENSERFIGHT_RUNTIME_DIR`, else `~/.lenserfight`.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        let neither =
            || Error::usage("neither HOME nor LENSERFIGHT_RUNTIME_DIR says where the keys are");
        self.runtime_dir.clone().or_else(|| self.default_root()).ok_or_else(neither)
    }

    /// `~/.lenserfight`, if there is a home.
    pub(crate) fn default_root(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".lenserfight"))
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
        let below_root = || Ok(self.root()?.join("keys"));
        self.keys_dir.clone().map_or_else(below_root, Ok)
    }

    /// Where programs of this user have their configuration: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) fn config(&self) -> Result<PathBuf> {
        let below_home = || Ok(self.home()?.join(".config"));
        self.config.clone().map_or_else(below_home, Ok)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Result<PathBuf> {
        let home = self.home.clone();
        home.ok_or_else(|| Error::usage("HOME does not say where this user's files are"))
    }

    /// The variables that say where things are, as far as they are set, by absolute paths.
    pub(crate) fn places(&self) -> Vec<(&'static str, PathBuf)> {
        let places = [
            ("LENSERFIGHT_RUNTIME_DIR", &self.runtime_dir),
            ("LENSERFIGHT_KEYS_DIR", &self.keys_dir),
            (PASSPHRASE_VARIABLES[1], &self.passphrase.file),
        ];
        let absolute = |(name, path): (_, &Option<PathBuf>)| {
            let path = path.as_ref()?;
            let absolute = std::path::absolute(path);
            Some((name, absolute.unwrap_or_else(|_| path.clone())))
        };
        places.into_iter().filter_map(absolute).collect()
    }
}

/// Is a switch on or off? `None` if its value says neither.
fn switch(value: &OsStr) -> Option<bool> {
    match &*value.to_str()?.to_ascii_lowercase() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Is this variable set, and not empty?
pub(crate) fn is_set(name: &str) -> bool {
    variable(name).is_some()
}

/// Where programs are looked for; what the C libraries take where nobody has set it.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The secret in a variable that somebody names; `None` if it is unset or empty.
pub(crate) fn secret_variable(name: &str) -> Result<Option<Secret>> {
    let secret =
        |value: OsString| Secret::from_bytes(value.into_encoded_bytes()).ok_or(Error::InvalidKey);
    variable(name).map(secret).transpose()
}

/// What holds the master passphrase, names the file that does, prefers them to the keychain, and names
/// the command that prints it.
pub(crate) const PASSPHRASE_VARIABLES: [&str; 4] = [
    "LENSERFIGHT_KEYS_PASSPHRASE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FILE",
    "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV",
    "LENSERFIGHT_KEYS_PASSPHRASE_COMMAND",
];
/// Variables that are on or off.
const SWITCHES: [&str; 5] = [
    PASSPHRASE_VARIABLES[2],
    "LF_GATEWAY_KEYS_ONLY",
    "LF_GATEWAY_TAILSCALE",
    "LF_GATEWAY_OWNER_PAUSED",
    "LF_GATEWAY_GLOBAL_KILL_SWITCH",
];
/// One of these is enough for a session with the cloud.
const SESSION_VARIABLES: [&str; 3] =
    ["LENSERFIGHT_API_KEY", "SUPABASE_ACCESS_TOKEN", "LF_ACCESS_TOKEN"];
