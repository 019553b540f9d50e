//! More commands that change a file, for the cuts of power: nothing of the keychain's in most of them, and no file
//! of a key's in some.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{ADD, NEW_VALUE, NEXT, PAIR, ROTATE, Scenario, Source, pairing, two_keys};
use support::list;

/// A paired page asks a gateway for this: the first line of the input, and the body of the request.
const PAGE: Scenario = Scenario {
    prepare: |stage| pairing(stage, Source::Environment, &["first"]),
    arguments: "gateway serve --keys-only --port 0",
    then: "keys list",
    again: None,
    ..ROTATE
};

/// A change of the passphrase waits for the next one to be configured.
const WAITING: Scenario = Scenario {
    prepare: |stage| {
        two_keys(stage);
        stage.home.lf("keys rekey --passphrase-stdin").input(NEXT).ok();
        None
    },
    done: |stage, _, _| stage.all_open_with(NEXT),
    ..ROTATE
};

pub const FURTHER: &[Scenario] = &[
    Scenario {
        name: "a page adds",
        input: "POST /keys\n{\"provider\":\"openai\",\"label\":\"New\",\"rawKey\":\"sk-new\"}",
        touches: &[],
        adds: Some(("New", "sk-new")),
        ..PAGE
    },
    Scenario {
        name: "a page replaces",
        input: "PUT /keys/ONE\n{\"rawKey\":\"sk-new\"}",
        becomes: NEW_VALUE.becomes,
        sets_aside: true,
        ..PAGE
    },
    Scenario { name: "a page rotates", input: "POST /keys/ONE/rotate\n", ..PAGE },
    Scenario {
        name: "a page removes",
        input: "DELETE /keys/ONE\n",
        becomes: |_| None,
        sets_aside: true,
        ..PAGE
    },
    Scenario {
        name: "restore --replaced",
        prepare: |stage| {
            two_keys(stage);
            let replaced = stage.home.keys().join("replaced");
            fs::create_dir(&replaced).unwrap();
            support::chmod(&replaced, 0o700);
            let one = stage.home.lf("keys list --json").ok().out;
            let id = one.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let kept = replaced.join(format!("{id}.1700000000000.json"));
            fs::rename(stage.home.file(id), kept).unwrap();
            None
        },
        arguments: "keys restore --replaced",
        touches: &[],
        adds: Some(("One", "sk-of-One")),
        again: Some("nothing"),
        ..ROTATE
    },
    Scenario {
        name: "update --label, a rekey waits",
        arguments: "keys update --label Uno -- ONE",
        becomes: |key| {
            let label = "Uno".to_owned();
            Some(super::stage::Key { label, ..key })
        },
        then: "keys rekey --undo",
        ..WAITING
    },
    Scenario {
        name: "remove, a rekey waits",
        arguments: "keys remove --yes -- ONE",
        becomes: |_| None,
        then: "keys rekey --undo",
        ..WAITING
    },
    // The list that fills the log is not in the older generations afterwards; all else is.
    Scenario {
        name: "list, a full audit log",
        prepare: |stage| {
            two_keys(stage);
            let log = stage.home.keys().join("audit.log");
            let list = "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"kind\":\"list\",\"ok\":true}\n";
            let mut text = fs::read_to_string(&log).unwrap();
            // Full with the next line.
            text.push_str(&list.repeat((5 * 1024 * 1024 - text.len()) / list.len()));
            fs::write(&log, text).unwrap();
            let older = "{\"ts\":\"2026-01-01T03:04:05.678Z\",\"kind\":\"remove\",\"ok\":true}\n";
            for end in ["1", "2"] {
                let older = older.replace("2026-01-01", &format!("2025-01-0{end}"));
                fs::write(log.with_extension(format!("log.{end}")), older).unwrap();
            }
            None
        },
        arguments: "keys list",
        touches: &[],
        ..ROTATE
    },
    Scenario {
        name: "doctor --fix",
        prepare: |stage| {
            two_keys(stage);
            let keys = stage.home.keys();
            fs::write(keys.join(".lf-aaaaaaaaaaaaaaaa.tmp"), "left behind").unwrap();
            for path in list(&keys) {
                support::chmod(&path, 0o644);
            }
            support::chmod(&keys, 0o755);
            None
        },
        arguments: "keys doctor --fix",
        touches: &[],
        done: |stage, _, _| {
            let mut places = list(&stage.home.keys());
            places.push(stage.home.keys());
            for place in places {
                let mode = fs::metadata(&place).unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}", place.display());
            }
        },
        ..ROTATE
    },
    Scenario {
        name: "allow",
        prepare: |stage| {
            two_keys(stage);
            let project = stage.home.path().join("project");
            fs::create_dir_all(&project).unwrap();
            fs::write(project.join(".lf"), "OPENAI_API_KEY=One\n").unwrap();
            None
        },
        arguments: "keys allow",
        touches: &[],
        done: |stage, _, _| {
            let project = stage.home.path().join("project");
            let run = stage.home.lf("keys run -- true");
            run.under(&["env", "--chdir", project.to_str().unwrap()]).ok();
        },
        ..ROTATE
    },
    Scenario {
        name: "init --passphrase-file",
        prepare: |_| None,
        arguments: "keys init --passphrase-file HOME/.passphrase",
        with: Source::Keychain,
        after: Source::Forced,
        touches: &[],
        done: |stage, _, outcome| {
            let text = fs::read_to_string(stage.home.path().join(".passphrase")).unwrap();
            assert_eq!(text.trim_end().len(), 43, "{outcome}");
        },
        ..ROTATE
    },
    Scenario {
        name: "pair, the same name again",
        prepare: |stage| pairing(stage, Source::Environment, &["second", "first"]),
        ..PAIR
    },
    Scenario {
        name: "consent revoke",
        prepare: |stage| {
            two_keys(stage);
            let state = stage.home.path().join(".lenserfight/gateway");
            fs::create_dir_all(&state).unwrap();
            fs::write(state.join("tailscale-consent.json"), "{}").unwrap();
            None
        },
        arguments: "gateway consent revoke",
        touches: &[],
        done: |stage, _, _| {
            let file = ".lenserfight/gateway/tailscale-consent.json";
            assert!(!stage.home.path().join(file).exists(), "the consent is there again");
        },
        ..ROTATE
    },
    Scenario { name: "add, below a home that has nothing", prepare: |_| None, ..ADD },
];
