"""Runs the tests against every mutant that `cargo mutants --list` names: run.py [PART-OF-A-NAME]...

One build has all of them. Each function that has mutants chooses its body by the number in a control file, and marks
there that it was reached. So a mutant costs the tests that reach its function, and no build; and what a mutant that
does not compile would be is left out.

1. cargo-mutants lists the mutants; a copy of the repository below target/mutants/tree gets them.
2. Each test runs alone without a mutant, which says what it reaches, how long it takes, and that it passes.
3. Each mutant is run against the unit tests that reach it, then against those tests of its room (ROOMS) that do,
   quick ones first, until one fails or hangs. A test that drives lf has to fail twice.
4. What survives has to be in unchanged.txt, with the reason why it changes nothing.

Outcomes are kept in target/mutants/outcomes.json, by the text of the function, so that a run can be continued. What
survived is run again when there are other tests.
"""
import hashlib, json, mmap, os, resource, shutil, signal, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "target", "mutants")
TREE = os.path.join(WORK, "tree")
CONTROL = os.path.join(WORK, "control")
UNCHANGED = os.path.join(ROOT, "tests", "mutants", "unchanged.txt")
CARGO = os.environ.get("CARGO", "cargo")
# Its own directory, because the paths of sockets in it must be short.
TEMPORARY = f"/tmp/lf-mutants-{os.getuid()}"
MOST_FUNCTIONS = 8192
# Seconds. Tests that take longer are not run against mutants.
SLOW = 12

# The tests that drive lf for each room, besides the unit tests; in this order. The first that fits counts.
ROOMS = [
    ("src/base/", "passphrase secrecy keys"),
    ("src/vault/envelope/", "envelope keys disk memory"),
    ("src/gateway/guard.rs", "gateway_access gateway_api scope limits"),
    ("src/gateway/http", "gateway_access gateway_api gateway_load"),
    ("src/gateway/pairing/", "pairing scope adopt sandbox"),
    ("src/vault/master/", "master rekey passphrase"),
    ("src/vault/store.rs", "keys concurrency disk recovery limits terminal filesystems"),
    ("src/vault/files.rs", "keys disk concurrency recovery limits filesystems doctor"),
    ("src/vault/history.rs", "keys audit limits"),
    ("src/vault/audit.rs", "audit keys"),
    ("src/vault/sheet.rs", "recovery"),
    ("src/vault/doctor/", "doctor age adopt audit passphrase concurrency rekey filesystems"),
    ("src/vault/dotenv.rs", "dotenv import"),
    ("src/vault/key.rs", "age audit keys disk import"),
    ("src/vault/predecessor.rs", "adopt passphrase doctor"),
    ("src/vault/project.rs", "project"),
    ("src/vault/provider.rs", "providers keys"),
    ("src/keychain/helper.rs", "pairing sandbox limits"),
    ("src/keychain/", "keychain consent status keychains"),
]

SWITCH = """//! Which mutant is active, and which functions were reached.
use std::os::fd::AsFd;
use std::sync::OnceLock;

pub(crate) fn at(function: usize) -> u32 {
    static STATE: OnceLock<(u32, usize)> = OnceLock::new();
    let (active, marks) = *STATE.get_or_init(|| {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let mut options = std::fs::OpenOptions::new();
        let Ok(file) = options.read(true).write(true).open("CONTROL") else { return (0, 0) };
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping; the file is never made shorter.
        unsafe {
            let start = mmap(std::ptr::null_mut(), LENGTH, flags, MapFlags::SHARED, file.as_fd(), 0);
            start.map_or((0, 0), |start| (start.cast::<u32>().read(), start as usize + 4))
        }
    });
    if marks != 0 {
        // SAFETY: within the mapping, which stays.
        unsafe { ((marks + function) as *mut u8).write_volatile(1) };
    }
    active
}
"""
ALLOW = "#![allow(warnings, unsafe_code, arithmetic_overflow, unconditional_panic, overflowing_literals)]\n"


class Mutant:
    """One change, by its place in the text of a file."""

    def __init__(self, entry, source):
        self.file, self.name, self.text = entry["file"], entry["name"].split(": ", 1)[1], entry["replacement"]
        self.start, self.end = source.span(entry["span"])
        function = entry["function"]
        self.function = source.span(function["span"]) if function else (self.start, self.end)
        text = source.text[self.function[0]:self.function[1]]
        self.body = body(text) if function else None
        signature = text[: self.body or 0]
        # Its bodies cannot be chosen from at run time: each is built by itself.
        self.is_alone = self.body is None or "-> impl " in signature or "const fn " in signature
        place = f"{self.start - self.function[0]}-{self.end - self.function[0]}"
        self.key = hashlib.sha256(f"{self.file}\0{text}\0{place}\0{self.text}".encode()).hexdigest()[:24]
        self.reach = f"{self.file}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Source:
    def __init__(self, path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            self.text = file.read()
        self.lines = [0]
        for line in self.text.split("\n"):
            self.lines.append(self.lines[-1] + len(line) + 1)

    def span(self, span):
        return tuple(self.lines[at["line"] - 1] + at["column"] - 1 for at in (span["start"], span["end"]))


def body(text):
    """Where the body of a function begins, behind its brace; None if it has none."""
    at = 0
    while at < len(text):
        if text.startswith("//", at):
            at = text.index("\n", at)
        elif text[at] == '"':
            at += 1
            while text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif text[at] == "{":
            return at + 1
        at += 1
    return None


def numbered(mutants):
    """Gives each a name without lines and columns, and a number where several have the same."""
    seen = {}
    for mutant in mutants:
        name = f"{mutant.file}: {mutant.name}"
        seen[name] = seen.get(name, 0) + 1
        mutant.id = name if seen[name] == 1 else f"{name} #{seen[name]}"


def instrument(text, mutants, functions, numbers):
    """The text with all these mutants behind switches, and the numbers of those at the lines they are on."""
    groups = {}
    for mutant in mutants:
        groups.setdefault(mutant.function, []).append(mutant)
    lines = {}

    def render(start, end, first_line):
        out, at = [], start
        inside = sorted(span for span in groups if start <= span[0] and span[1] <= end and (start, end) != span)
        line = first_line

        def emit(piece):
            nonlocal line
            out.append(piece)
            line += piece.count("\n")

        for span in inside:
            if span[0] < at:
                continue  # within another function, which renders it
            here = groups[span]
            begin, close = span[0] + here[0].body, text.rindex("}", span[0], span[1])
            emit(text[at:begin])
            emit(f" match crate::mutants::at({functions[here[0].reach]}) {{\n")
            for mutant in here:
                before = line
                emit(f"{numbers[mutant.key]} => {{{text[begin:mutant.start]}{mutant.text}{text[mutant.end:close]}}}\n")
                lines.update((at, mutant) for at in range(before, line))
            emit("_ => {")
            del groups[span]
            emit(render(begin, close, line))
            groups[span] = here
            emit("} }")
            at = close
        emit(text[at:end])
        return "".join(out)

    return render(0, len(text), 1), lines


class Build:
    """The copy of the repository, and what is built from it."""

    def __init__(self, mutants):
        self.mutants = mutants
        self.functions = {}
        for mutant in mutants:
            self.functions.setdefault(mutant.reach, len(self.functions))
        assert len(self.functions) < MOST_FUNCTIONS
        self.numbers = {mutant.key: at for at, mutant in enumerate(mutants, 1)}
        # As it is now: somebody may go on working while this runs.
        listed = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True)
        self.files = {}
        for path in listed.stdout.splitlines():
            whole = os.path.join(ROOT, path)
            if os.path.isfile(whole):
                with open(whole, "rb") as file:
                    self.files[path] = (file.read(), os.stat(whole).st_mode)
        with open(CONTROL, "wb") as file:
            file.write(bytes(4 + MOST_FUNCTIONS))
        os.chmod(CONTROL, 0o666)
        self.file = open(CONTROL, "r+b")
        self.control = mmap.mmap(self.file.fileno(), 4 + MOST_FUNCTIONS)

    def write(self, left_out, alone=None):
        """Writes the tree; `alone` is a mutant that is built in, whatever the control file says."""
        self.lines = {}
        for path, (content, mode) in self.files.items():
            here = [m for m in self.mutants if m.file == path and not m.is_alone and m.key not in left_out]
            if alone and path == alone.file:
                text = content.decode()
                content = (text[:alone.start] + alone.text + text[alone.end:]).encode()
            elif here:
                text, lines = instrument(content.decode(), here, self.functions, self.numbers)
                self.lines[path] = lines
                content = text.encode()
            if path == "src/lib.rs":
                content = content.replace(b"#![cfg_attr(test", ALLOW.encode() + b"#![cfg_attr(test", 1)
                content = content.replace(b"\nmod error;", b"\nmod mutants;\nmod error;", 1)
            put(os.path.join(TREE, path), content, mode)
        switch = SWITCH.replace("CONTROL", CONTROL).replace("LENGTH", str(4 + MOST_FUNCTIONS))
        put(os.path.join(TREE, "src/mutants.rs"), switch.encode(), 0o644)

    def cargo(self, *arguments):
        """Runs cargo in the tree; what it says in JSON, and whether it succeeded."""
        environment = dict(
            os.environ, CARGO_TARGET_DIR=os.path.join(WORK, "build"), CARGO_PROFILE_DEV_DEBUG="0",
            CARGO_INCREMENTAL="1")
        done = subprocess.run(
            [CARGO, *arguments, "--locked", "--message-format=json"], cwd=TREE, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done

    def settle(self):
        """Writes the tree without the mutants that do not compile; gives those."""
        left_out = {key: why for key, why in load("unviable.json").items() if key in self.numbers}
        while True:
            self.write(left_out)
            said, done = self.cargo("check", "--lib")
            if done.returncode == 0:
                keep("unviable.json", left_out)
                return left_out
            more = {}
            for entry in said:
                message = entry.get("message", {})
                if entry["reason"] != "compiler-message" or message["level"] != "error":
                    continue
                spans = [span for span in message["spans"] if span["is_primary"]]
                spans += [span for span in message["spans"] if not span["is_primary"]]
                for span in spans:
                    mutant = self.lines.get(span["file_name"], {}).get(span["line_start"])
                    if mutant:
                        more[mutant.key] = message["message"]
                        break
            if not more:
                sys.exit("the tree does not compile:\n" + "\n".join(
                    entry["message"]["rendered"] for entry in said if entry["reason"] == "compiler-message"
                    and entry["message"]["level"] == "error") + done.stderr)
            left_out.update(more)
            say(f"{len(left_out)} mutants do not compile")

    def tests(self, *names):
        """Builds these test programs: their paths by their names."""
        which = [word for name in names for word in (["--lib"] if name == "lib" else ["--test", name])]
        said, done = self.cargo("test", "--no-run", *which)
        if done.returncode != 0:
            sys.exit("the tests do not compile:\n" + done.stderr + "\n".join(
                entry["message"]["rendered"] for entry in said if entry["reason"] == "compiler-message"))
        found = {}
        for entry in said:
            if entry["reason"] == "compiler-artifact" and entry.get("executable") and entry["profile"]["test"]:
                kind = entry["target"]["kind"]
                found["lib" if "lib" in kind else entry["target"]["name"]] = entry["executable"]
        return {name: found[name] for name in names}

    def select(self, number):
        self.control[:] = number.to_bytes(4, "little") + bytes(MOST_FUNCTIONS)

    def reached(self):
        names = list(self.functions)
        return [names[at] for at in range(len(names)) if self.control[4 + at]]


def put(path, content, mode):
    """Writes a file if it is another one: cargo goes by the time of the last change."""
    try:
        with open(path, "rb") as file:
            if file.read() == content:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def limit(seconds):
    def limits():
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
    return limits


def run(program, names, seconds):
    """Runs these tests of a program: "passed", "failed" or "hung", and the time."""
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    os.makedirs(TEMPORARY, 0o1777)
    os.chmod(TEMPORARY, 0o1777)
    environment = dict(os.environ, TMPDIR=TEMPORARY, CARGO_MANIFEST_DIR=TREE, RUST_BACKTRACE="0")
    begun = time.monotonic()
    process = subprocess.Popen(
        [program, "--exact", "--test-threads=1", *names], cwd=TREE, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limit(seconds))
    try:
        outcome = "passed" if process.wait(seconds * 4) == 0 else "failed"
    except subprocess.TimeoutExpired:
        outcome = "hung"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    return outcome, time.monotonic() - begun


def baseline(build, programs, known):
    """What each test reaches and how long it takes, without a mutant."""
    for name, program in programs.items():
        with open(program, "rb") as file:
            stamp = sources(name) if name != "lib" else hashlib.sha256(file.read()).hexdigest()
        if known.get(name, {}).get("stamp") == stamp:
            continue
        listed = subprocess.run([program, "--list", "--format=terse"], check=True, capture_output=True, text=True)
        tests = {}
        for line in listed.stdout.splitlines():
            test = line.removesuffix(": test")
            build.select(0)
            outcome, seconds = run(program, [test], 120)
            if outcome != "passed":
                say(f"{name}: {test} {outcome} without a mutant, so it is left out")
                continue
            tests[test] = {"seconds": round(seconds, 3), "reaches": build.reached()}
        known[name] = {"stamp": stamp, "tests": tests}
        keep("tests.json", known)
        say(f"{name}: {len(tests)} tests, {sum(it['seconds'] for it in tests.values()):.0f} s")


def sources(name):
    """A digest of the text of a test that drives lf, and of its support."""
    digest = hashlib.sha256()
    folder = os.path.join(ROOT, "tests", "support")
    for path in [os.path.join(ROOT, "tests", name + ".rs")] + sorted(os.path.join(folder, it) for it in os.listdir(folder)):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def attack(build, mutant, programs, known, number):
    """Runs the tests that reach a mutant until one fails: its name; or None, with how many passed."""
    def reaching(name):
        tests = known[name]["tests"].items()
        # A constant is reached by what reaches a function of its file.
        place = mutant.file + ":" if mutant.is_alone else mutant.reach
        reaches = lambda it: any(reach.startswith(place) for reach in it["reaches"])
        return sorted((it["seconds"], test) for test, it in tests if reaches(it))

    passed = 0
    for name, program in programs.items():
        tests = [(seconds, test) for seconds, test in reaching(name) if seconds < SLOW]
        # Unit tests that take no time go together.
        quick = [test for seconds, test in tests if name == "lib" and seconds < 0.5]
        for some in ([quick] if quick else []) + [[test] for _, test in tests if test not in quick]:
            seconds = sum(known[name]["tests"][test]["seconds"] for test in some)
            for _ in range(1 if name == "lib" else 2):
                build.select(number)
                outcome, _ = run(program, some, max(5, int(seconds * 5)))
                if outcome == "passed":
                    break
            if outcome != "passed":
                return f"{outcome}: {name} {' '.join(some) if len(some) < 4 else 'quick ones'}", passed
            passed += len(some)
    return None, passed


def load(name):
    try:
        with open(os.path.join(WORK, name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def keep(name, value):
    path = os.path.join(WORK, name)
    with open(path + "~", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(path + "~", path)


def say(text):
    print(text, file=sys.stderr, flush=True)


def unchanged():
    """The names in the list; under each stands its reason."""
    with open(UNCHANGED, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if line.strip() and not line.startswith("#")]
    names = [line for line in lines if not line.startswith(" ")]
    for at, line in enumerate(lines):
        if not line.startswith(" ") and not (at + 1 < len(lines) and lines[at + 1].startswith(" ")):
            sys.exit(f"unchanged.txt gives no reason for: {line}")
    return names


def main(wanted):
    os.makedirs(WORK, exist_ok=True)
    listed = subprocess.run(
        [CARGO, "mutants", "--list", "--json", "--dir", ROOT, "--config", os.path.join(ROOT, "tests/mutants/cargo.toml")],
        check=True, capture_output=True, text=True)
    files = {}
    mutants = []
    for entry in json.loads(listed.stdout):
        source = files.setdefault(entry["file"], Source(entry["file"]))
        mutants.append(Mutant(entry, source))
    numbered(mutants)
    say(f"{len(mutants)} mutants")
    build = Build(mutants)
    unviable = build.settle()
    lists = unchanged()
    for name in set(lists) - {mutant.id for mutant in mutants}:
        sys.exit(f"unchanged.txt names a mutant that there is not: {name}")
    outcomes, known = load("outcomes.json"), load("tests.json")
    chosen = [m for m in mutants if not wanted or any(word in m.id for word in wanted)]

    def survivors(room):
        some = [m for m in chosen if room_of(m) == room and m.id not in lists and m.key not in unviable]
        return [m for m in some if not outcomes.get(m.key, {}).get("killed")]

    def pass_over(stage, room, names):
        """Runs what has survived in this room against these tests."""
        programs = build.tests(*names)
        baseline(build, programs, known)
        stamp = hashlib.sha256(f"{SLOW}{[known[name]['stamp'] for name in names]}".encode()).hexdigest()
        # Those that have to be built by themselves come last.
        for mutant in sorted(survivors(room), key=lambda mutant: mutant.is_alone):
            before = outcomes.get(mutant.key, {})
            if before.get(stage) == stamp:
                continue
            number = build.numbers[mutant.key]
            if mutant.is_alone:
                build.write(unviable, mutant)
                if build.cargo("check", "--lib")[1].returncode != 0:
                    unviable[mutant.key] = "alone"
                    keep("unviable.json", unviable)
                    say(f"{mutant.id}: does not compile")
                    continue
                programs, number = build.tests(*names), 0
            by, passed = attack(build, mutant, programs, known, number)
            outcomes[mutant.key] = dict(before, id=mutant.id, killed=by, **{stage: stamp, f"{stage} passed": passed})
            keep("outcomes.json", outcomes)
            say(f"{mutant.id}: {by or f'survived {passed} tests'}")
        build.write(unviable)

    stages = os.environ.get("STAGES", "unit driven").split()
    for stage in stages:
        for room, names in ROOMS:
            if survivors(room):
                pass_over(stage, room, ["lib"] if stage == "unit" else names.split())
                say(f"{stage} {room}: {len(survivors(room))} survive")
    report(chosen, unviable, outcomes, lists)


def room_of(mutant):
    return next(room for room, _ in ROOMS if mutant.file.startswith(room))


def report(chosen, unviable, outcomes, lists):
    """Says how it went, by the mutants that were asked for; the status is 0 if none survives."""
    viable = [mutant for mutant in chosen if mutant.key not in unviable]
    listed = [mutant for mutant in viable if mutant.id in lists]
    others = [mutant for mutant in viable if mutant.id not in lists]
    killed = [mutant for mutant in others if outcomes.get(mutant.key, {}).get("killed")]
    survivors = [mutant for mutant in others if mutant not in killed]
    not_run = [mutant for mutant in survivors if mutant.key not in outcomes]
    for mutant in survivors:
        say(f"{'not run' if mutant in not_run else 'survives'}: {mutant.id}")
    say(f"{len(chosen)} mutants: {len(chosen) - len(viable)} do not compile, {len(killed)} killed, "
        f"{len(listed)} change nothing, {len(survivors) - len(not_run)} survive, {len(not_run)} not run")
    sys.exit(bool(survivors))


main(sys.argv[1:])
