//! What a command did to its files, call by call, from a log that strace wrote with `-f -y -xx`; and what the
//! keychain had meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::disk::{Call, Contents, Disk, Node, Tree};
use super::stage::Template;
use super::sweep::Stage;
use super::{Scenario, Source};
use support::gateway::{Client, bearer};
use support::{Outcome, Run, children, list};

/// One thing that happened in a run.
pub enum Event {
    Call(Call),
    /// The keychain has this from now on.
    Kept(Kept),
}

/// Secrets by service and account.
pub type Kept = BTreeMap<(String, String), String>;

/// A run of a command that nothing happened to.
pub struct Recording {
    pub before: Tree,
    pub events: Vec<Event>,
    /// Every entry of the keychain that there was at some time.
    pub accounts: BTreeSet<(String, String)>,
    pub outcome: Outcome,
}

/// A command under strace, which would outlive a test that fails.
struct Traced(Option<Child>);

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            support::end_traced(child);
        }
    }
}

/// Runs the command, and writes down what it does and what the keychain has whenever that may have changed.
/// `None` if the machine is so busy that the looks at the keychain took too much of the time that lf waits for it.
pub fn record(
    scenario: &Scenario,
    stage: &Stage,
    template: &Template,
    contents: &mut Contents,
) -> Option<Recording> {
    let home = stage.home.path();
    let before = read(home, contents);
    let mut accounts: BTreeSet<(String, String)> = BTreeSet::new();
    let first = kept(stage, &mut accounts);
    let run = stage.on_one_core(traced(scenario, scenario.start(stage, template), &stage.log()));
    let _ = fs::remove_file(stage.log());
    let mut traced = Traced(Some(run.start()));
    let strace = traced.0.as_mut().unwrap();
    if scenario.arguments.starts_with("gateway serve") {
        ask_as_a_page(scenario, template, strace);
    }
    let (mut lines, mut kepts, mut looks) = (Vec::new(), vec![first], 0);
    let (start, mut log, mut line) = (Instant::now(), None, String::new());
    loop {
        let is_over = strace.try_wait().unwrap().is_some();
        log = log.or_else(|| fs::File::open(stage.log()).ok().map(BufReader::new));
        while log.as_mut().is_some_and(|log| log.read_line(&mut line).unwrap() > 0) {
            let Some(whole) = line.strip_suffix('\n') else { break };
            if whole.contains("--- stopped by SIGSTOP ---") {
                // It stops as it begins to wait for the answer, and again when it has read the head of it.
                if looks > 0 {
                    let now = kept(stage, &mut accounts);
                    if Some(&now) != kepts.last() {
                        lines.push(format!("{KEPT}{}", kepts.len()));
                        kepts.push(now);
                    }
                    looks -= 1;
                }
                for pid in children(strace) {
                    kill_process(pid, Signal::CONT).unwrap();
                }
            } else {
                if ["CreateItem", "SetSecret", "Delete"].iter().any(|it| whole.contains(&hex(it))) {
                    looks = 3;
                }
                lines.push(whole.to_owned());
            }
            line.clear();
        }
        if is_over {
            break;
        }
        assert!(start.elapsed() < support::HANG, "hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
    let outcome = run.finish(traced.0.take().unwrap());
    if outcome.err.contains("no answer in time") {
        return None;
    }
    assert_eq!(outcome.status, Some(0), "{outcome}");
    let mut places = Places::new();
    let mut event = |line: &String| match line.strip_prefix(KEPT) {
        Some(number) => Some(Event::Kept(kepts[number.parse::<usize>().unwrap()].clone())),
        None => call(line, home, &mut places).map(Event::Call),
    };
    let events = whole(&lines);
    let first = Event::Kept(kepts[0].clone());
    let events: Vec<Event> =
        std::iter::once(first).chain(events.iter().filter_map(&mut event)).collect();
    // The record is of everything: played again, it leaves what is there.
    let mut disk = Disk::of(&before);
    for event in &events {
        if let Event::Call(call) = event {
            disk.play(call, contents);
        }
    }
    assert_eq!(disk.seen(), read(home, contents), "the record is not whole");
    assert!(Some(&kept(stage, &mut accounts)) == kepts.last(), "nor is that of the keychain");
    Some(Recording { before, events, accounts, outcome })
}

/// Waits until a gateway listens, has it do what the scenario's input asks for, and ends it.
fn ask_as_a_page(scenario: &Scenario, template: &Template, strace: &mut Child) {
    let mut line = String::new();
    let mut out = BufReader::new(strace.stdout.as_mut().unwrap());
    out.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").expect("an address");
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::HANG)).unwrap();
    let mut client = Client { stream: BufReader::new(stream) };
    let (request, body) = scenario.input.split_once('\n').unwrap();
    let one = template.keys.iter().find(|key| key.label == "One").unwrap();
    let token = bearer(template.token.as_ref().unwrap());
    let request = request.replace("ONE", &one.id);
    let headers = [("Authorization", &*token), ("Content-Type", "application/json")];
    let answer = client.ask(&request, &headers, body);
    assert!((200..300).contains(&answer.status), "{answer:?}");
    for pid in children(strace) {
        kill_process(pid, Signal::TERM).unwrap();
    }
}

/// Under strace, and stopped whenever the keychain has answered.
fn traced(scenario: &Scenario, run: Run, log: &Path) -> Run {
    let (log, calls) = (log.to_str().unwrap(), format!("trace={TRACED}"));
    let strace = ["strace", "-f", "-qq", "-y", "-xx", "-s", "33554432", "-o", log, "-e", &calls];
    let stop = ["--inject=recvfrom:signal=SIGSTOP:when=1+"];
    let stop = if asks_the_keychain(scenario) { &stop[..] } else { &[] };
    let run = run.under(&[&strace[..], stop].concat());
    if rustix::process::geteuid().is_root() { run } else { run.under(&["unshare", "-r"]) }
}

pub fn asks_the_keychain(scenario: &Scenario) -> bool {
    let asks = |source| !matches!(source, Source::Environment | Source::Next);
    asks(scenario.with) || asks(scenario.after)
}

/// What the keychain has now, in these entries and in those that have come.
pub fn kept(stage: &Stage, accounts: &mut BTreeSet<(String, String)>) -> Kept {
    let now = stage.accounts();
    accounts.extend(now.into_iter().map(|(service, account)| (service.to_owned(), account)));
    let keychain = stage.keychain();
    let find = |place: &(String, String)| {
        let secret = keychain.find(&place.0, &place.1).unwrap()?;
        Some((place.clone(), secret.expose().to_owned()))
    };
    accounts.iter().filter_map(find).collect()
}

/// What lf has in this home.
pub fn read(home: &Path, contents: &mut Contents) -> Tree {
    let mut tree = Tree::new();
    let mut places = list(home);
    while let Some(place) = places.pop() {
        let path = place.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
        if is_foreign(&path) {
            continue;
        }
        let stat = fs::symlink_metadata(&place).unwrap();
        let mode = stat.permissions().mode() & 0o777;
        if stat.is_dir() {
            places.extend(list(&place));
            tree.insert(path, Node::Directory(mode));
        } else {
            tree.insert(path, Node::File(mode, contents.of(fs::read(&place).unwrap())));
        }
    }
    tree
}

/// A word as strace writes it.
fn hex(word: &str) -> String {
    word.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The calls to be traced: all that change files or make changes sure, those that [`call`] does not know too, and
/// those by which the keychain is asked.
pub const TRACED: &str = "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    copy_file_range,sendfile,splice,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod,mknodat,unlink,\
    unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,fsync,fdatasync,sync,syncfs,sync_file_range,msync,\
    sendto,recvfrom";

/// The lines of the log, each a whole call: one that another thread's calls came between is put together, where it
/// began if it syncs and else where it ended.
pub fn whole(lines: &[String]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        let thread = line.split(' ').next().unwrap();
        let Some((_, rest)) = line.split_once(" resumed>") else {
            whole.push(line.clone());
            continue;
        };
        let is_start =
            |it: &String| it.split(' ').next() == Some(thread) && it.ends_with(" <unfinished ...>");
        let at = whole.iter().rposition(is_start).expect("where it began");
        let start = whole.remove(at);
        let line = format!("{}{rest}", start.trim_end_matches(" <unfinished ...>"));
        whole.insert(if line.contains("sync(") { at } else { whole.len() }, line);
    }
    whole
}

/// Where the next bytes go that are written to a file which was not opened to append.
pub type Places = HashMap<String, usize>;

/// What a call did below the home; `None` if that is nothing, or it failed.
pub fn call(line: &str, home: &Path, places: &mut Places) -> Option<Call> {
    let (text, result) = line.split_once(' ')?.1.trim_start().rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let (name, arguments) = text.trim_end().strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    // A directory and a name in it, or a path.
    let at = |dir: usize| {
        let name = path(&text_of(arguments[dir + 1]));
        below(&format!("{}/{name}", place_of(arguments[dir])), &name, home)
    };
    let named = |argument: usize| {
        let name = path(&text_of(arguments[argument]));
        below(&name, &name, home)
    };
    let opened = |argument: usize| {
        let place = place_of(arguments[argument]);
        below(&place, &place, home)
    };
    let mode = |argument: usize| u32::from_str_radix(arguments[argument], 8).unwrap();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let mut open = |path: String, flags: usize| {
        let flag = |flag| arguments[flags].split('|').any(|it| it == flag);
        assert!(!flag("O_TRUNC"), "not foreseen: {line}");
        match flag("O_APPEND") {
            true => drop(places.remove(&path)),
            false if flag("O_WRONLY") || flag("O_RDWR") => drop(places.insert(path.clone(), 0)),
            false => {}
        }
        flag("O_CREAT").then(|| Call::Make(path, mode(flags + 1)))
    };
    match name {
        "open" => open(named(0)?, 1),
        "openat" => open(at(0)?, 2),
        "write" | "pwrite64" => {
            let path = opened(0)?;
            let mut bytes = text_of(arguments[1]);
            bytes.truncate(number(result));
            let place = places.get_mut(&path).map(|next| {
                *next += bytes.len();
                *next - bytes.len()
            });
            let place = arguments.get(3).map(|at| number(at)).or(place);
            Some(Call::Write(path, place, bytes))
        }
        "ftruncate" => Some(Call::Truncate(opened(0)?, number(arguments[1]))),
        "rename" => Some(Call::Rename(named(0)?, named(1)?)),
        "renameat" | "renameat2" => Some(Call::Rename(at(0)?, at(2)?)),
        "linkat" => Some(Call::Link(at(0)?, at(2)?)),
        "unlink" | "rmdir" => Some(Call::Remove(named(0)?)),
        "unlinkat" => Some(Call::Remove(at(0)?)),
        "mkdir" => Some(Call::MakeDirectory(named(0)?, mode(1))),
        "mkdirat" => Some(Call::MakeDirectory(at(0)?, mode(2))),
        "fchmod" => Some(Call::Mode(opened(0)?, mode(1))),
        "fsync" | "fdatasync" => Some(Call::Sync(opened(0)?)),
        "sendto" | "recvfrom" => None,
        _ => {
            let is_ours = |it: &&&str| {
                let at = place_of(it);
                below(&at, &at, home).is_some() || below(&path(&text_of(it)), "", home).is_some()
            };
            let known: Vec<&&str> = arguments.iter().filter(is_ours).collect();
            assert!(known.is_empty(), "not foreseen: {line}");
            None
        }
    }
}

/// What a string stands for.
fn text_of(argument: &str) -> Vec<u8> {
    let inner = argument.strip_prefix('"').unwrap_or_default();
    let inner = inner.strip_suffix('"').unwrap_or_else(|| {
        assert!(inner.is_empty(), "cut short: {argument:.80}");
        inner
    });
    bytes(inner)
}

/// Where a descriptor leads.
fn place_of(argument: &str) -> String {
    let inner = argument.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
    path(&bytes(inner.unwrap_or_default()))
}

/// Bytes as strace writes them: `\x2f\x74`, and some names of what is no file as they are.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let mut pairs = hexadecimal.split("\\x");
    let plain = pairs.next().unwrap_or_default().as_bytes().to_vec();
    let pairs = pairs.filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok());
    plain.into_iter().chain(pairs).collect()
}

fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The path below the home, if it is there and not where the tests keep their own things. `name` is what was given:
/// an absolute one counts alone.
fn below(path: &str, name: &str, home: &Path) -> Option<String> {
    let path = if name.starts_with('/') { name } else { path };
    let path = Path::new(path).strip_prefix(home).ok()?.to_str()?.trim_end_matches("/.").to_owned();
    (!is_foreign(&path)).then_some(path)
}

/// What the tests keep in a home beside the files of lf.
pub fn is_foreign(path: &str) -> bool {
    ["session", "copy", ".env", "strace.log", "project"]
        .contains(&path.split('/').next().unwrap_or_default())
}

/// A line of the log that stands for a state of the keychain.
const KEPT: &str = "KEPT ";
