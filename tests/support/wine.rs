//! lf.exe under wine (`make windows-check`): each home with a Windows of its own, which has the files of one that
//! `tests/windows/check.sh` has made, and its own registry, where the Credential Manager keeps its entries.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// That Windows, if `LF_BINARY` is lf.exe.
pub fn template() -> Option<PathBuf> {
    std::env::var_os("LF_WINE").map(PathBuf::from)
}

/// Makes one for a home, beside it.
pub fn make(home: &Path) {
    let Some(template) = template() else { return };
    let prefix = prefix(home);
    let _ = fs::remove_dir_all(&prefix);
    fs::create_dir(&prefix).unwrap();
    for name in ["user.reg", "userdef.reg", ".update-timestamp"] {
        fs::copy(template.join(name), prefix.join(name)).unwrap();
    }
    // The home becomes that of a user of its name.
    let parent = home.parent().unwrap().to_str().unwrap().replace('/', r"\\");
    let system = fs::read_to_string(template.join("system.reg")).unwrap();
    let system = system.replace(PROFILES, &PROFILES.replace(r"C:\\users", &format!("Z:{parent}")));
    fs::write(prefix.join("system.reg"), system).unwrap();
    for name in ["drive_c", "dosdevices"] {
        symlink(template.join(name), prefix.join(name)).unwrap();
    }
    // It goes on for a while without programs, because starting Windows takes a second; and what it starts
    // at first would hold a test's pipes open.
    assert!(server(home, "-p600").status().unwrap().success());
    let lf = super::lf();
    let mut first = Command::new(&lf[0]);
    first.arg(&lf[1]).arg("--version").envs(environment(home));
    first.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(first.status().unwrap().success());
}

fn server(home: &Path, flag: &str) -> Command {
    let mut server = Command::new("/usr/lib/wine/wineserver64");
    server.arg(flag).env("WINEPREFIX", prefix(home)).stderr(Stdio::null());
    server
}

/// Ends whatever runs in it, and removes it.
pub fn remove(home: &Path) {
    if template().is_none() {
        return;
    }
    // Another home's prefix may get the number that this one has for the file system, and wine knows it by that.
    let _ = server(home, "-k").status().and_then(|_| server(home, "-w").status());
    let _ = fs::remove_dir_all(prefix(home));
}

/// What leads lf.exe to a home.
pub fn environment(home: &Path) -> Vec<(&'static str, PathBuf)> {
    match template() {
        None => Vec::new(),
        Some(_) => vec![
            ("WINEPREFIX", prefix(home)),
            ("WINEDEBUG", "-all".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("USER", home.file_name().unwrap().into()),
        ],
    }
}

const PROFILES: &str = r#""ProfilesDirectory"=str(2):"C:\\users""#;

fn prefix(home: &Path) -> PathBuf {
    let mut path = home.as_os_str().to_owned();
    path.push(".wine");
    path.into()
}

/// The program of tests/windows with this name.
pub fn tool(name: &str) -> Vec<PathBuf> {
    let lf = super::lf();
    vec![lf[0].clone().into(), Path::new(&lf[1]).with_file_name(name)]
}

/// What lf.exe says, with the paths of a home as the tests know them.
pub fn as_on_unix(text: String) -> String {
    if template().is_none() {
        return text;
    }
    let is_end = |c: char| c.is_whitespace() || "\"',;()".contains(c);
    let path = |word: &str| match word.contains("lf-test-") {
        true => word.trim_start_matches("Z:").replace(r"\\", "/").replace('\\', "/"),
        false => word.to_owned(),
    };
    text.split_inclusive(is_end).map(path).collect()
}
