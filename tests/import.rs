//! Keys out of dotenv files and variables: which, under what names, and what stays where it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use miniserde::json::{self, Value};
use support::pty::Terminal;
use support::{Home, PASSPHRASE, chmod};

/// A dotenv file in the home, that nobody else can read.
fn dotenv(home: &Home, text: &str) -> PathBuf {
    let file = home.path().join(".env");
    fs::write(&file, text).unwrap();
    chmod(&file, 0o600);
    file
}

fn import(home: &Home, flags: &str) -> support::Run {
    home.lf(&format!("keys import --dotenv {}/.env {flags}", home.path().display()))
}

/// What is stored, as `provider label`, by label.
fn stored(home: &Home) -> Vec<String> {
    let out = home.lf("keys list --json").ok().out;
    let keys: Vec<json::Object> = json::from_str(&out).unwrap();
    let text = |key: &json::Object, name: &str| match key.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    let shown = |key| format!("{} {}", text(key, "provider"), text(key, "label"));
    let mut stored: Vec<String> = keys.iter().map(shown).collect();
    stored.sort();
    stored
}

const FILE: &str = "\u{feff}# ours\r\n\
    export OPENAI_API_KEY=\"sk-proj-hidden1\r\nx\" # a comment\r\n\
    GOOGLE_API_KEY='sk$hidden2'\n\
    DATABASE_URL=postgres://${USER}@host/#x\n\
    FOR_TESTS=hf_hidden3\n\
    MY_OWN_API_TOKEN=hidden4\n\
    GROQ_API_KEY=old\n\
    GROQ_API_KEY=gsk_hidden5\n\
    MISTRAL_API_KEY=\n";

#[test]
fn the_keys_of_a_dotenv_file_are_found_by_variable_prefix_and_name() {
    let home = Home::new();
    let file = dotenv(&home, FILE);
    let imported = import(&home, "--yes").ok();
    assert_eq!(
        stored(&home),
        [
            "google GOOGLE_API_KEY",
            "groq GROQ_API_KEY",
            "huggingface FOR_TESTS",
            "my_own MY_OWN_API_TOKEN",
            "openai OPENAI_API_KEY",
        ]
    );
    for (line, name, value) in [
        (0, "OPENAI_API_KEY", "sk-proj-hidden1\nx"),
        (1, "GOOGLE_API_KEY", "sk$hidden2"),
        (2, "FOR_TESTS", "hf_hidden3"),
        (3, "MY_OWN_API_TOKEN", "hidden4"),
        (4, "GROQ_API_KEY", "gsk_hidden5"),
    ] {
        let line = imported.out.lines().nth(line).unwrap();
        let (label, id) = line.split_once('=').unwrap();
        assert_eq!(label, name, "{imported}");
        assert_eq!(home.value(id), value, "{name}");
    }
    for said in ["DATABASE_URL", "MISTRAL_API_KEY: it is empty", "set twice", "in the clear"] {
        assert!(imported.err.contains(said), "no {said} in {imported}");
    }
    assert!(!imported.err.contains("hidden") && !imported.err.contains("postgres"), "{imported}");
    assert_eq!(fs::read_to_string(file).unwrap(), FILE, "the file stays");
    let adds = home.audit().matches(r#""kind":"add""#).count();
    assert_eq!(adds, 5, "{}", home.audit());
    assert!(home.audit().contains(r#""command":"keys import""#));
}

#[test]
fn names_come_first_and_only_yes_is_yes() {
    let home = Home::new();
    dotenv(&home, FILE);
    for (answer, status, count) in [("no\r", 2, 0), ("yes\r", 0, 5)] {
        let mut terminal = Terminal::start(&import(&home, ""));
        terminal.sees("GROQ_API_KEY").sees("Import these 5 keys?").types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(status), "{screen}");
        assert!(!screen.contains("hidden"), "{screen}");
        assert_eq!(stored(&home).len(), count);
    }
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_changed() {
    let home = Home::new();
    dotenv(&home, FILE);
    let refused = import(&home, "").fails(2, "refused");
    assert!(refused.err.contains("OPENAI_API_KEY") && refused.err.contains("--yes"), "{refused}");
    let refused = import(&home, "--json").go();
    // Before it, one of the values is warned about.
    let error = json::from_str::<json::Object>(refused.err.lines().last().unwrap());
    assert!(error.is_ok_and(|error| error.contains_key("error")), "{refused}");
    assert!(!home.keys().exists());
}

#[test]
fn what_is_odd_in_an_imported_value_is_named_once_and_kept() {
    let home = Home::new();
    dotenv(&home, "OPENAI_API_KEY=\"Bearer sk-a\"\nGROQ_API_KEY=gsk_\u{441}b\nXAI_API_KEY=xai-c\n");
    let imported = import(&home, "--yes").ok();
    let warnings: Vec<&str> =
        imported.err.lines().filter(|line| line.contains("as it is")).collect();
    let stored = "as it is, with";
    assert_eq!(
        warnings,
        [
            format!(
                "lf: warning: lf stores OPENAI_API_KEY {stored} surrounding Bearer, a space at character 7"
            ),
            format!(
                "lf: warning: lf stores GROQ_API_KEY {stored} a Cyrillic letter at character 5"
            ),
        ],
        "{imported}"
    );
    assert!(!imported.err.contains("sk-a") && !imported.err.contains("gsk_"), "{imported}");
    assert_eq!(home.value("OPENAI_API_KEY"), "Bearer sk-a");
    assert_eq!(home.value("GROQ_API_KEY"), "gsk_\u{441}b");
}

#[test]
fn the_same_again_adds_nothing_twice() {
    let home = Home::new();
    dotenv(&home, FILE);
    import(&home, "--yes").ok();
    let before = stored(&home);
    let again = import(&home, "--yes").ok();
    assert_eq!(again.out, "");
    assert!(again.err.contains("skipped: OPENAI_API_KEY: "), "{again}");
    // With a command that can be typed as it stands.
    let (_, way_out) = again.err.split_once("lf keys update ").unwrap();
    let (arguments, _) = way_out.split_once(" gives it").unwrap();
    let update = home.lf(&format!("keys update {arguments}"));
    update.input("sk-proj-hidden1").ok();
    assert_eq!(stored(&home), before);
    assert_eq!(import(&home, "--yes --json").ok().out, "[]\n");
}

#[test]
fn a_bad_line_is_named_by_its_number_alone_and_the_others_are_imported() {
    let home = Home::new();
    dotenv(
        &home,
        "hunter2\nOPENAI_API_KEY=sk-good\nXAI_API_KEY=$hunter3\nMIIhunter4a==\nGROQ_API_KEY='hunter5\n",
    );
    let imported = import(&home, "--yes").fails(1, "incomplete");
    assert_eq!(stored(&home), ["openai OPENAI_API_KEY"]);
    for said in ["line 1: ", "line 3, XAI_API_KEY: ", "line 4", "line 5, GROQ_API_KEY: ", "3 of 4"]
    {
        assert!(imported.err.contains(said), "no {said} in {imported}");
    }
    assert!(!imported.err.contains("hunter"), "{imported}");
}

#[test]
fn a_line_that_a_lone_carriage_return_ends_brings_no_other_value_along() {
    let home = Home::new();
    dotenv(&home, "OPENAI_API_KEY=sk-one\rGROQ_API_KEY=gsk_hidden\n");
    let imported = import(&home, "--yes").fails(1, "incomplete");
    assert!(imported.err.contains("line 1, OPENAI_API_KEY"), "{imported}");
    assert!(!imported.err.contains("hidden"), "{imported}");
    assert!(!home.keys().exists());
}

#[test]
fn the_name_of_a_file_cannot_drive_a_terminal() {
    let home = Home::new();
    let name = "a\u{1b}[2J\nlf: ok\u{202e}";
    let import = |name: &str| home.words(&["keys", "import", "--yes", "--dotenv", name]);
    let missing = import(name).fails(1, "io_error");
    let file = home.path().join(name);
    fs::write(&file, "OPENAI_API_KEY=$x\nGROQ_API_KEY=gsk_x\n").unwrap();
    chmod(&file, 0o644);
    let imported = import(file.to_str().unwrap())
        .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
        .fails(1, "incomplete");
    for outcome in [missing, imported] {
        let err = &outcome.err;
        assert!(!err.contains(['\u{1b}', '\u{202e}']), "{outcome}");
        assert!(!err.lines().any(|line| line.starts_with("lf: ok")), "{outcome}");
        assert!(err.contains("\\u{1b}[2J\\u{a}lf: ok"), "{outcome}");
    }
}

#[test]
fn what_is_no_dotenv_file_is_refused_and_nothing_is_made() {
    let home = Home::new();
    import(&home, "--yes").fails(1, "io_error");
    for bytes in [vec![b'A'; 256 * 1024 + 1], vec![b'A', b'=', 0xff]] {
        fs::write(home.path().join(".env"), bytes).unwrap();
        import(&home, "--yes").fails(2, "usage");
    }
    dotenv(&home, "PORT=80\nA_KEY_API_KEY=x\n");
    import(&home, "--yes OPENAI_API_KEY").fails(2, "usage");
    let refused = import(&home, "--yes A_KEY_API_KEY PORT").fails(2, "refused");
    assert!(
        refused.err.contains("--label PORT\n")
            && !refused.err.contains('$')
            && !refused.err.contains("80"),
        "{refused}"
    );
    assert!(!home.keys().exists());
    dotenv(&home, "PORT=80\n# OPENAI_API_KEY=x\n");
    let none = import(&home, "").ok();
    assert!(none.err.contains("no keys to import") && none.out.is_empty(), "{none}");
    assert!(!home.keys().exists());
}

#[test]
fn only_the_named_variables_of_a_file_are_taken() {
    let home = Home::new();
    dotenv(&home, &format!("{FILE}not a line\n"));
    import(&home, "OPENAI_API_KEY --yes FOR_TESTS").ok();
    assert_eq!(stored(&home), ["huggingface FOR_TESTS", "openai OPENAI_API_KEY"]);
    import(&home, "MISTRAL_API_KEY --yes").fails(1, "incomplete");
}

#[test]
fn a_file_that_others_can_read_is_said_and_a_link_is_followed() {
    let home = Home::new();
    let real = dotenv(&home, "HF_TOKEN=hf_x\n");
    assert!(!import(&home, "--yes").ok().err.contains("chmod"));
    chmod(&real, 0o644);
    let link = home.path().join("link");
    symlink(&real, &link).unwrap();
    let imported = home.lf(&format!("keys import --yes --dotenv {}", link.display())).ok();
    assert!(imported.err.contains("chmod 600"), "{imported}");
}

#[test]
fn variables_are_taken_by_name_and_json_has_their_metadata() {
    let home = Home::new();
    let run = || {
        home.lf("keys import --json --yes --env HF_TOKEN MY_OWN_API_KEY")
            .env("HF_TOKEN", "hf_secret-one")
    };
    run().go();
    assert!(!home.keys().exists(), "one of them is not set, so none is taken");
    let imported = run().env("MY_OWN_API_KEY", "sk-ant-secret-two").ok();
    let keys: Vec<json::Object> = json::from_str(&imported.out).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(stored(&home), ["anthropic MY_OWN_API_KEY", "huggingface HF_TOKEN"]);
    assert_eq!(home.value("HF_TOKEN"), "hf_secret-one");
    assert_eq!(home.value("MY_OWN_API_KEY"), "sk-ant-secret-two");
    home.lf("keys import --yes --env LENSERFIGHT_KEYS_PASSPHRASE").fails(2, "refused");
    let other = home.lf("keys import --yes --env OPENAI_API_KEY");
    let other = other.env("OPENAI_API_KEY", "sk-ant-secret-three").ok();
    assert!(
        other.err.contains("anthropic")
            && other.err.contains("openai")
            && !other.err.contains("secret"),
        "{other}"
    );
}

#[test]
fn a_variable_that_is_not_text_is_named_and_the_others_are_imported() {
    let home = Home::new();
    let run = home.lf("keys import --yes --env HF_TOKEN GROQ_API_KEY");
    let run = run.env("HF_TOKEN", OsString::from_vec(b"hf_\xff".into()));
    let imported = run.env("GROQ_API_KEY", "gsk_x").fails(1, "incomplete");
    assert!(imported.err.contains("HF_TOKEN: "), "{imported}");
    assert_eq!(stored(&home), ["groq GROQ_API_KEY"]);
}

#[test]
fn a_key_that_cannot_be_stored_does_not_keep_the_others_out() {
    let home = Home::new();
    dotenv(&home, "OPENAI_API_KEY=a\nGROQ_API_KEY=b\nXAI_API_KEY=c\n");
    let imported = import(&home, "--yes").inject("renameat2:error=EIO:when=2").go();
    assert_eq!(imported.status, Some(1), "{imported}");
    assert_eq!((stored(&home).len(), imported.out.lines().count()), (2, 2), "{imported}");
    import(&home, "--yes").ok();
    assert_eq!(stored(&home).len(), 3, "the same again does the rest");
    let log = home.audit();
    let add = |ok: &str| {
        log.lines().filter(|line| line.contains(r#""kind":"add""#) && line.contains(ok)).count()
    };
    assert_eq!((add(r#""ok":true"#), add(r#""reason":"io_error""#)), (3, 1), "{log}");
}

#[test]
fn every_key_of_a_line_that_sets_several_is_named_and_none_is_stored() {
    let home = Home::new();
    dotenv(
        &home,
        "export ANTHROPIC_API_KEY=sk-ant-hidden GROQ_API_KEY=gsk_hidden\n\
        export A2_API_KEY=hidden; export B2_API_KEY=hidden\n\
        C2_API_KEY=hidden && echo hi\n\
        D2_API_KEY=hidden;\n",
    );
    let imported = import(&home, "--yes").fails(1, "incomplete");
    for said in [
        "line 1, ANTHROPIC_API_KEY: ",
        "line 1, GROQ_API_KEY: ",
        "line 2, A2_API_KEY: ",
        "line 2, B2_API_KEY: ",
        "line 3, C2_API_KEY: ",
        "line 4, D2_API_KEY: ",
        "6 of 6 keys",
    ] {
        assert!(imported.err.contains(said), "no {said} in {imported}");
    }
    assert!(!imported.err.contains("hidden"), "{imported}");
    assert!(!home.keys().exists());
}

#[test]
fn the_last_line_of_a_name_counts_even_if_it_has_no_value() {
    for last in [
        "GROQ_API_KEY=",
        "GROQ_API_KEY=''",
        "GROQ_API_KEY=$x",
        "GROQ_API_KEY = gsk_x",
        "export OTHER=x GROQ_API_KEY=gsk_x",
        "GROQ_API_KEY=changeme",
        "unset GROQ_API_KEY",
    ] {
        let home = Home::new();
        dotenv(&home, &format!("GROQ_API_KEY=gsk_hidden\n{last}\n"));
        let imported = import(&home, "--yes").go();
        assert!(imported.err.contains("line 1, GROQ_API_KEY: it is set twice"), "{imported}");
        assert!(imported.err.contains("line 2, GROQ_API_KEY: "), "{imported}");
        assert!(!home.keys().exists(), "{last}\n{imported}");
    }
    let home = Home::new();
    dotenv(&home, "GROQ_API_KEY=$x\nGROQ_API_KEY=gsk_last\n");
    import(&home, "--yes").ok();
    assert_eq!(home.value("groq"), "gsk_last");
}

#[test]
fn references_and_placeholders_are_named_and_not_stored() {
    for value in [
        "op://Private/OpenAI/credential",
        "encrypted:BDqDBibm4wsYqMpCjTQ6BsDHmMadg9K3dAt",
        "ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]",
        "lf://Prod",
        "your_api_key_here",
        "sk-ant-your-key-here",
        "YOUR-KEY",
        "'<GROQ_API_KEY>'",
        "'<your key>'",
        "changeme",
        "CHANGE_ME",
        "replace-me",
        "sk-xxxxxxxxxxxxxxxx",
        "xxx",
        "sk-...",
    ] {
        let home = Home::new();
        dotenv(&home, &format!("OPENAI_API_KEY={value}\n"));
        let imported = import(&home, "--yes").ok();
        assert!(imported.err.contains("skipped: line 1, OPENAI_API_KEY: "), "{imported}");
        let imported = import(&home, "--yes OPENAI_API_KEY").fails(1, "incomplete");
        assert!(imported.err.contains("line 1, OPENAI_API_KEY: "), "{imported}");
        assert!(!home.keys().exists(), "{value}");
    }
    let home = Home::new();
    let run = home.lf("keys import --yes --env OPENAI_API_KEY");
    run.env("OPENAI_API_KEY", "changeme").fails(1, "incomplete");
    // Not every value that has such letters is one.
    dotenv(&home, "GROQ_API_KEY=gsk_yourselfhood\nXAI_API_KEY=xx\nMY_API_KEY=op:x\n");
    import(&home, "--yes").ok();
    assert_eq!(stored(&home).len(), 3);
}

#[test]
fn what_came_through_a_pipe_is_in_no_file_to_take_it_out_of() {
    let home = Home::new();
    let file = dotenv(&home, "OPENAI_API_KEY=sk-one\n");
    let lf = env!("CARGO_BIN_EXE_lf");
    for (number, source) in ["<(cat \"$1\")", "/dev/stdin", "/dev/fd/0"].into_iter().enumerate() {
        fs::write(&file, format!("KEY_{number}_API_KEY=x\n")).unwrap();
        let script = format!("\"$0\" keys import --yes --dotenv {source} < \"$1\"");
        let words = ["bash", "-c", &script, lf, file.to_str().unwrap()];
        let run = home.program(&words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
        let imported = run.ok();
        assert!(imported.out.contains("_API_KEY="), "{imported}");
        assert!(
            !imported.err.contains("in the clear") && !imported.err.contains("/dev"),
            "{imported}"
        );
    }
    assert!(import(&home, "--yes").ok().err.contains("KEY_2_API_KEY"));
    dotenv(&home, "GROQ_API_KEY=gsk_x\n");
    let imported = import(&home, "--yes").ok();
    assert!(
        imported.err.contains(&format!("{} still has them in the clear", file.display())),
        "{imported}"
    );
}

#[test]
fn the_same_again_does_not_fail_for_what_was_named_the_first_time() {
    let home = Home::new();
    dotenv(&home, "OPENAI_API_KEY=sk-one\nGROQ_API_KEY=gsk_$x\nXAI_API_KEY=xai-two\nno\n");
    let first = import(&home, "--yes").fails(1, "incomplete");
    assert!(first.err.contains("2 of 4 keys failed"), "{first}");
    let again = import(&home, "--yes").ok();
    assert!(again.err.contains("line 2, GROQ_API_KEY: ") && again.out.is_empty(), "{again}");
    // What is asked for by name is not there yet.
    let asked = import(&home, "--yes OPENAI_API_KEY GROQ_API_KEY").fails(1, "incomplete");
    assert!(asked.err.contains("1 of 2 keys failed"), "{asked}");
    dotenv(&home, "OPENAI_API_KEY=sk-one\nGROQ_API_KEY=gsk_$x\nMISTRAL_API_KEY=three\n");
    let more = import(&home, "--yes").fails(1, "incomplete");
    assert!(more.err.contains("1 of 3 keys failed"), "{more}");
    assert_eq!(stored(&home).len(), 3);
}

#[test]
fn a_key_that_an_older_version_stored_under_an_alias_is_there() {
    let home = Home::new();
    // v1 does not authenticate the provider, so this is a key of an older version.
    let id = home.add("google", "GOOGLE_API_KEY", "AIza-one");
    let envelope = fs::read_to_string(home.file(&id)).unwrap();
    fs::write(home.file(&id), envelope.replace("\"google\"", "\"gemini\"")).unwrap();
    dotenv(&home, "GOOGLE_API_KEY=AIza-one\n");
    assert!(import(&home, "--yes").ok().err.contains("skipped"));
    assert_eq!(stored(&home), ["gemini GOOGLE_API_KEY"]);
}
