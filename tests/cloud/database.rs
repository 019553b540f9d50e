//! A PostgreSQL of the test's own, on a Unix socket in the test's home.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use support::{Home, exit, package_of, until};

/// Where Debian's package puts the programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

pub struct Database {
    server: Child,
    dir: PathBuf,
}

impl Database {
    /// An empty one.
    pub fn empty(home: &Home) -> Database {
        let dir = home.path().join("database");
        fs::create_dir(&dir).unwrap();
        if rustix::process::geteuid().is_root() {
            // PostgreSQL does not run as root, and its package has made this user.
            let done = Command::new("chown").args(["postgres:postgres"]).arg(&dir).status();
            assert!(done.unwrap().success(), "{}", package_of("postgres".as_ref()));
        }
        let data = dir.join("data");
        let mut make = as_postgres("initdb");
        make.arg("-D").arg(&data).args(["-U", "owner", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        let made = make.args(["--locale=C", "--wal-segsize=1"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(home.path().join("database.log")).unwrap();
        let mut serve = as_postgres("postgres");
        serve.arg("-D").arg(&data).arg("-k").arg(&dir);
        serve.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_statement=all"]);
        let server = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let database = Database { server, dir };
        until("the database answers", || database.sql("owner", "select 1").is_ok());
        database
    }

    /// One that has what `lf cloud schema` prints, the role that PostgREST logs in as, and two users with
    /// a key each.
    pub fn with_schema(home: &Home) -> Database {
        let database = Database::empty(home);
        database.owner(&schema(home));
        database.owner(&format!(
            "create role authenticator login noinherit;
             grant anon, authenticated, service_role to authenticator;
             insert into ai.providers (key, display_name) values ('openai', 'OpenAI'), ('anthropic', 'Anthropic');
             insert into lensers.profiles (user_id) values ('{ALICE}'), ('{BOB}');"
        ));
        database.add(ALICE, "openai", "Prod", ALICES);
        database.add(BOB, "anthropic", "Prod", BOBS);
        database
    }

    /// Adds a key as the first lines of the schema say; its id.
    pub fn add(&self, user: &str, provider: &str, label: &str, value: &str) -> String {
        let label = if label.is_empty() { "null".to_owned() } else { format!("'{label}'") };
        self.owner(&format!(
            "insert into ai.keys (lenser_id, provider_id, label, key_suffix, encrypted_key_id)
               select lenser.id, provider.id, {label}, right('{value}', 4), vault.create_secret('{value}')
               from lensers.profiles lenser, ai.providers provider
               where lenser.user_id = '{user}' and provider.key = '{provider}'
               returning id;"
        ))
    }

    /// Runs this as its owner.
    pub fn owner(&self, sql: &str) -> String {
        self.sql("owner", sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// Runs this as a role that has a login; what is printed, or the error with its code.
    pub fn sql(&self, role: &str, sql: &str) -> Result<String, String> {
        self.psql(&["-U", role], sql)
    }

    /// The same with these variables.
    pub fn psql(&self, arguments: &[&str], sql: &str) -> Result<String, String> {
        let mut command = Command::new(format!("{PROGRAMS}/psql"));
        command.env_clear().arg("-h").arg(&self.dir).args(["-d", "postgres", "-XqAt"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It stops reading at the first error.
        let _ = child.stdin.take().unwrap().write_all(sql.as_bytes());
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.server), Signal::INT);
        exit(&mut self.server);
    }
}

/// A program of PostgreSQL's, not as root.
fn as_postgres(program: &str) -> Command {
    let path = format!("{PROGRAMS}/{program}");
    assert!(fs::exists(&path).unwrap(), "{path}: {}", package_of("postgres".as_ref()));
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    // It ends with a test that is killed.
    command.args(["--pdeathsig=INT", &path]);
    command
}

pub fn schema(home: &Home) -> String {
    home.bare("cloud schema").ok().out
}

/// The users, as the `sub` of their JWTs.
pub const ALICE: &str = "a11ce000-0000-4000-8000-000000000001";
pub const BOB: &str = "b0b00000-0000-4000-8000-000000000002";
/// The values of their keys.
pub const ALICES: &str = "sk-proj-alice-0123456789abcdef";
pub const BOBS: &str = "sk-ant-bob-0123456789abcdef";
