//! The commands of `lf keys`, as a person or a script uses them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use local_keys::KeyId;
use miniserde::json::{self, Value};
use support::pty::Terminal;
use support::{Home, VALUE, mode};

fn objects(text: &str) -> Vec<json::Object> {
    json::from_str(text).unwrap_or_else(|_| panic!("not an array of objects: {text}"))
}

fn member(object: &json::Object, name: &str) -> String {
    match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_key_goes_through_its_whole_life() {
    let home = Home::new();
    home.lf("keys init").ok();
    let id = home
        .lf("keys add --provider openai --label Prod")
        .input(VALUE)
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert!(home.lf("keys list").ok().out.contains(&id));
    home.lf("keys rotate Prod").ok();
    assert_eq!(home.lf("keys export Prod --i-understand").ok().out, format!("{VALUE}\n"));
    home.lf("keys doctor").ok();
    home.lf("keys remove Prod --yes").ok();
    home.lf("keys export Prod --i-understand").fails(1, "key_not_found");
    assert!(home.names().is_empty());
}

#[test]
fn add_prints_the_id_alone_and_makes_what_is_missing() {
    let home = Home::new();
    let added = home.lf("keys add --provider openai").input("sk-x\n").ok();
    let id = added.out.trim_end();
    assert_eq!((id.len(), added.out.len()), (32, 33));
    assert!(KeyId::parse(id).is_ok());
    assert_eq!(home.value(id), "sk-x");
    let keys = objects(&home.lf("keys list --json").ok().out);
    assert_eq!(member(&keys[0], "label"), "openai", "the label defaults to the provider");
    assert_eq!(
        (mode(&home.file(id)), mode(&home.keys()), mode(home.keys().parent().unwrap())),
        (0o600, 0o700, 0o700)
    );
}

#[test]
fn modes_hold_under_any_umask() {
    for umask in ["000", "077", "777"] {
        let home = Home::new();
        let shell = ["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")];
        let id = home
            .lf("keys add --provider openai")
            .input("v")
            .under(&shell)
            .ok()
            .out
            .trim_end()
            .to_owned();
        home.lf(&format!("keys rotate -- {id}")).under(&shell).ok();
        assert_eq!((mode(&home.file(&id)), mode(&home.keys())), (0o600, 0o700), "umask {umask}");
        assert_eq!(mode(&home.keys().join("audit.log")), 0o600, "umask {umask}");
    }
}

#[test]
fn add_json_prints_the_metadata() {
    let home = Home::new();
    let added =
        home.words(&["keys", "add", "--provider", "mistral", "--label", "Üretim \"🔐\"", "--json"]);
    let added = added.env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE).input("v").ok();
    let key: json::Object = json::from_str(&added.out).unwrap();
    assert_eq!(
        key.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["createdAt", "id", "label", "provider"]
    );
    assert_eq!(
        (member(&key, "provider").as_str(), member(&key, "label").as_str()),
        ("mistral", "Üretim \"🔐\"")
    );
}

#[test]
fn values_keep_every_byte_but_one_trailing_newline() {
    let home = Home::new();
    for (given, kept) in support::rows([
        ("v\n", "v"),
        ("v\r\n", "v"),
        ("v\n\n", "v\n"),
        (" v ", " v "),
        ("a\nb\nc", "a\nb\nc"),
        ("\0\u{7f}🔐", "\0\u{7f}🔐"),
        ("\nv", "\nv"),
    ]) {
        let id = home.lf("keys add --provider openai").input(given).ok().out.trim_end().to_owned();
        assert_eq!(home.value(&id), kept, "{given:?}");
    }
    let large = "ü".repeat(32 * 1024);
    let id = home
        .lf("keys add --provider openai")
        .input(format!("{large}\n"))
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert_eq!(home.value(&id), large);
}

#[test]
fn a_pipe_is_taken_to_the_byte() {
    let home = Home::new();
    for given in [" sk-a ", "\"sk-a\"", "'sk-a'\t"] {
        let added = home.lf("keys add --provider openai").input(given).ok();
        assert!(!added.err.contains("removed surrounding"), "{added}");
        assert_eq!(home.value(added.out.trim_end()), given);
    }
}

#[test]
fn a_key_that_begins_like_another_providers_is_stored_as_asked_and_noticed() {
    let home = Home::new();
    let key = "sk-ant-api03-hidden";
    let added = home.lf("keys add --provider openai").input(key).ok();
    assert!(
        added.err.contains("warning")
            && added.err.contains("anthropic")
            && !added.err.contains("hidden"),
        "{added}"
    );
    assert_eq!(home.value("openai"), key);
    let json = home.lf("keys add --provider mistral --json").input(key).ok();
    let first = json.err.lines().next().unwrap();
    let warning: json::Object = json::from_str(first).unwrap();
    assert!(warning.contains_key("warning") && first.contains("anthropic"), "{json}");
    for provider in ["anthropic", "claude", "claude-work"] {
        let added = home.lf(&format!("keys add --provider {provider} --label {provider}"));
        assert!(!added.input(key).ok().err.contains("warning"), "{provider}");
    }
    let replaced = home.lf("keys update claude-work --rotate").input("gsk_hidden").ok();
    assert!(replaced.err.contains("groq") && !replaced.err.contains("hidden"), "{replaced}");
}

#[test]
fn values_out_of_bounds_are_refused_and_nothing_is_stored() {
    let home = Home::new();
    home.lf("keys add --provider openai").fails(2, "empty_key");
    home.lf("keys add --provider openai").input("\n").fails(2, "empty_key");
    home.lf("keys add --provider openai").input(vec![b'a', 0xff]).fails(2, "invalid_key");
    home.lf("keys add --provider openai").input(vec![b'v'; 65_537]).fails(2, "key_too_large");
    home.lf("keys add --provider openai").input("ü".repeat(65_536)).fails(2, "key_too_large");
    home.lf("keys add --provider openai").input(vec![b'v'; 1_000_000]).fails(2, "key_too_large");
    assert!(!home.keys().exists(), "nothing is made before the value is known to be good");
}

#[test]
fn bad_providers_and_labels_are_refused_before_the_value_is_read() {
    let home = Home::new();
    for provider in ["Own-One", "x", "1a", "a b", "a\u{1b}[2J", &"a".repeat(33)] {
        let refused =
            home.words(&["keys", "add", "--provider", provider]).fails(2, "invalid_provider");
        assert!(!refused.err.contains('\u{1b}'), "{refused}");
    }
    for label in ["", "a\nb", "\u{1b}]0;x\u{7}", &"x".repeat(65)] {
        let refused = home
            .words(&["keys", "add", "--provider", "openai", &format!("--label={label}")])
            .fails(2, "invalid_label");
        assert!(!refused.err.contains('\u{1b}'), "{refused}");
    }
}

#[test]
fn list_is_oldest_first_and_needs_no_passphrase() {
    let home = Home::new();
    assert_eq!(home.bare("keys list --json").ok().out, "[]\n");
    assert_eq!(home.bare("keys list").ok().out, "");
    assert!(!home.keys().exists(), "listing makes nothing");
    let ids: Vec<String> =
        ["one", "two", "three"].map(|label| home.add("openai", label, "v")).to_vec();
    let listed = objects(&home.bare("keys list --json").ok().out);
    assert_eq!(listed.iter().map(|key| member(key, "id")).collect::<Vec<_>>(), ids);
    assert_eq!(listed[0].len(), 4, "id, provider, label, createdAt and nothing else");
    let table = home.bare("keys list").ok().out;
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().next().unwrap().starts_with("ID "));
}

#[test]
fn unreadable_files_are_named_and_skipped() {
    let (home, id) = Home::with_key();
    fs::write(home.keys().join("aaaaaaaaaaaaaaaaaaaaaaaa.json"), "garbage").unwrap();
    fs::write(home.keys().join("notes.json"), "{}").unwrap();
    fs::write(home.keys().join("README"), "not ours").unwrap();
    fs::write(home.keys().join(".hidden.json"), "not ours").unwrap();
    let listed = home.bare("keys list").ok();
    assert!(listed.out.contains(&id) && listed.out.lines().count() == 2, "{listed}");
    assert!(
        listed.err.contains("aaaaaaaaaaaaaaaaaaaaaaaa.json") && listed.err.contains("notes.json"),
        "{listed}"
    );
    assert!(!listed.err.contains("README"), "{listed}");
    let listed = home.bare("keys list --json").ok();
    assert_eq!(objects(&listed.out).len(), 1);
    assert!(
        listed.err.lines().all(|line| json::from_str::<json::Object>(line)
            .is_ok_and(|object| object.contains_key("warning"))),
        "{listed}"
    );
    home.bare("keys remove openai --yes").ok();
    let listed = home.bare("keys list").ok();
    assert!(listed.out.is_empty() && !listed.err.contains("no keys yet"), "{listed}");
}

#[test]
fn update_changes_the_label_without_a_passphrase_and_the_value_with_one() {
    let (home, id) = Home::with_key();
    let before = fs::read_to_string(home.file(&id)).unwrap();
    home.words(&["keys", "update", "Prod", "--label", "Old"]).ok();
    assert_eq!(
        fs::read_to_string(home.file(&id)).unwrap(),
        before.replace("Prod", "Old"),
        "a new label is all that changes"
    );
    assert_eq!(home.value(&id), VALUE);
    home.lf("keys update Old --rotate").input("sk-new\n").ok();
    assert_eq!(home.value(&id), "sk-new");
    home.lf("keys update Old --rotate --label Newer").input("sk-newer").ok();
    assert_eq!(home.value("Newer"), "sk-newer");
    let after = fs::read_to_string(home.file(&id)).unwrap();
    let meta = |text: &str| text[text.find("createdAt").unwrap()..][..37].to_owned();
    assert_eq!(meta(&after), meta(&before), "the time of creation stays");
    home.lf("keys update Newer --rotate").input("").fails(2, "empty_key");
    assert_eq!(home.value(&id), "sk-newer");
}

#[test]
fn rotate_keeps_the_value_and_changes_salt_iv_and_ciphertext() {
    let (home, id) = Home::with_key();
    let before = fs::read_to_string(home.file(&id)).unwrap();
    // The predecessor's rotate reads a new value there.
    let refused = home.lf("keys rotate Prod").input("a new value?").fails(2, "refused");
    assert!(refused.err.contains("--new-value") && refused.err.contains("/dev/null"), "{refused}");
    assert_eq!(fs::read_to_string(home.file(&id)).unwrap(), before);
    let rotated = home.lf("keys rotate Prod").ok();
    assert!(rotated.out.contains("its value stays"), "{rotated}");
    let after = fs::read_to_string(home.file(&id)).unwrap();
    for member in ["salt", "iv", "ciphertext", "tag"] {
        let value = |text: &str| {
            text.split(&format!("\"{member}\":\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_ne!(value(&before), value(&after), "{member}");
    }
    assert_eq!(home.value(&id), VALUE);
    let replaced = home.lf("keys rotate Prod --new-value").input("sk-new").ok();
    assert!(replaced.out.contains("has a new value"), "{replaced}");
    assert_eq!(home.value(&id), "sk-new");
}

#[test]
fn rotate_takes_several_keys_or_all() {
    let home = Home::new();
    let ids: Vec<String> =
        (0..3).map(|n| home.add("openai", &format!("k{n}"), &format!("value-{n}"))).collect();
    let contents = || ids.iter().map(|id| fs::read(home.file(id)).unwrap()).collect::<Vec<_>>();
    let start = contents();
    home.lf("keys rotate k0 k1 k0").ok();
    let some = contents();
    assert!(some[0] != start[0] && some[1] != start[1] && some[2] == start[2]);
    let all = home.lf("keys rotate --all").ok();
    assert_eq!(all.out.lines().count(), 3);
    assert!(contents().iter().zip(&some).all(|(new, old)| new != old));
    home.lf("keys rotate k0 nothing").fails(1, "key_not_found");
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(home.value(id), format!("value-{n}"));
    }
}

#[test]
fn rotate_all_goes_on_past_a_key_that_does_not_open() {
    let home = Home::new();
    let (good, bad) = (home.add("openai", "good", VALUE), home.add("openai", "bad", VALUE));
    let text = fs::read_to_string(home.file(&bad)).unwrap();
    let at = text.find("\"tag\":\"").unwrap() + 7;
    let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(home.file(&bad), format!("{}{flipped}{}", &text[..at], &text[at + 1..])).unwrap();
    let (before, broken) =
        (fs::read(home.file(&good)).unwrap(), fs::read(home.file(&bad)).unwrap());
    let outcome = home.lf("keys rotate --all").fails(1, "incomplete");
    assert!(outcome.err.contains("decryption_failed") && outcome.err.contains(&bad), "{outcome}");
    assert_ne!(fs::read(home.file(&good)).unwrap(), before);
    assert_eq!(fs::read(home.file(&bad)).unwrap(), broken, "what does not open is left as it is");
}

#[test]
fn remove_needs_a_yes() {
    let (home, id) = Home::with_key();
    let refused = home.lf("keys remove Prod").input("yes\n").fails(2, "refused");
    assert!(refused.err.contains("--yes"), "{refused}");
    assert!(home.file(&id).exists());
    assert!(home.bare("keys remove Prod --yes").ok().out.contains(&id));
    assert!(!home.file(&id).exists());
    home.bare(&format!("keys remove --yes -- {id}")).fails(1, "key_not_found");
}

#[test]
fn several_keys_are_removed_by_one_answer_or_none_is() {
    let (home, one) = Home::with_key();
    let two = home.add("groq", "Two", "gsk_0123456789abcdefghij");
    home.bare("keys remove Prod Nobody --yes").fails(1, "key_not_found");
    let refused = home.bare("keys remove Prod Two Prod").fails(2, "refused");
    assert!(refused.err.contains(&format!("lf keys remove --yes -- {one} {two}")), "{refused}");
    assert_eq!(home.names().len(), 2);
    let removed = home.bare("keys remove Prod Two Prod --yes").ok();
    assert_eq!(removed.out.lines().count(), 2, "{removed}");
    assert_eq!(home.names().len(), 0);
    for id in [one, two] {
        let line = format!(r#""kind":"remove","keyId":"{id}","ok":true"#);
        assert!(home.audit().contains(&line), "{}", home.audit());
    }
}

#[test]
fn get_prints_the_value_alone_and_the_log_says_which_program_asked() {
    let (home, id) = Home::with_key();
    let asked = home.lf("keys get Prod").under(&["sh", "-c", "\"$@\"; exit $?", "sh"]).ok();
    assert_eq!((asked.out.as_str(), asked.err.as_str()), (VALUE, ""));
    let line = home.audit().lines().last().unwrap().to_owned();
    assert!(line.contains(&format!(r#""kind":"export","keyId":"{id}","ok":true"#)), "{line}");
    assert!(line.contains(r#""command":"keys get","program":"sh""#), "{line}");
    let mut terminal = Terminal::start(&home.lf("keys get Prod"));
    terminal.sees("lf keys get --show -- Prod");
    let (status, seen) = terminal.ends();
    assert!(status == Some(2) && !seen.contains(VALUE), "{seen}");
    let (status, seen) = Terminal::start(&home.lf("keys get Prod --show")).ends();
    assert!(status == Some(0) && seen.contains(VALUE), "{seen}");
    home.lf("keys get Nobody").fails(1, "key_not_found");
}

#[test]
fn a_label_that_another_key_has_is_warned_of() {
    let (home, id) = Home::with_key();
    let add = |label: &str| home.words(&["keys", "add", "--provider", "groq", "--label", label]);
    let add = |label| add(label).env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE);
    let added = add("Prod").input("gsk_0123456789abcdefghij").ok();
    assert!(added.err.contains(&id) && added.err.contains("selects neither"), "{added}");
    let added = add("Two").input("gsk_0123456789abcdefghij").ok();
    assert!(!added.err.contains("warning"), "{added}");
    let changed = home.bare("keys update Two --label Prod").ok();
    assert!(changed.err.contains("selects neither"), "{changed}");
}

#[test]
fn a_label_of_the_predecessor_with_control_characters_is_a_label() {
    for (stored, shown) in [
        (r"a\u001b[31m\nb", r"a\u{1b}[31m\u{a}b"),
        (r"a\ud83d b", "a\u{FFFD} b"),
        (r"\\ud83d\udd10", r"\ud83d"),
        (r"\ud83d\udd10", "\u{1f510}"),
    ] {
        let (home, id) = Home::with_key();
        let text = fs::read_to_string(home.file(&id)).unwrap();
        let other = text.replace(r#""label":"Prod""#, &format!(r#""label":"{stored}""#));
        assert_ne!(text, other);
        fs::write(home.file(&id), other).unwrap();
        let listed = home.bare("keys list").ok();
        assert!(listed.out.contains(shown) && listed.err.is_empty(), "{stored}: {listed}");
        assert_eq!(home.value(&id), VALUE, "{stored}");
        home.lf("keys doctor").ok();
        home.lf(&format!("keys rotate -- {id}")).ok();
        assert!(home.bare("keys list").ok().out.contains(shown), "{stored}");
        home.bare(&format!("keys update --label New -- {id}")).ok();
        assert_eq!(home.value("New"), VALUE, "{stored}");
        home.words(&["keys", "update", "--label", "a\nb", "--", &id]).fails(2, "invalid_label");
    }
}

#[test]
fn a_damaged_key_can_be_removed_by_its_id_only() {
    let (home, id) = Home::with_key();
    fs::write(home.file(&id), "garbage").unwrap();
    home.bare("keys remove Prod --yes").fails(1, "key_not_found");
    home.bare(&format!("keys remove --yes -- {id}")).ok();
    assert!(home.names().is_empty());
}

#[test]
fn export_needs_the_flag_and_warns() {
    let (home, _) = Home::with_key();
    let refused = home.lf("keys export Prod").fails(2, "refused");
    assert_eq!(refused.out, "");
    let exported = home.lf("keys export Prod --i-understand").ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    assert!(exported.err.contains("in the clear"), "{exported}");
}

#[test]
fn a_key_is_named_by_id_prefix_label_or_provider() {
    let home = Home::new();
    let (one, two) = (home.add("openai", "Prod", "one"), home.add("mistral", "Test key", "two"));
    for (name, value) in [
        (one.as_str(), "one"),
        (&one[..4], "one"),
        (&two[..31], "two"),
        ("Prod", "one"),
        ("Test key", "two"),
        ("mistral", "two"),
    ] {
        assert_eq!(home.value(name), value, "{name}");
    }
    for nothing in [&one[..3], "prod", "Pro", "", "nothing", "../../etc/passwd", &format!("{one}x")]
    {
        home.words(&["keys", "export", "--i-understand", "--", nothing]).fails(1, "key_not_found");
    }
}

#[test]
fn an_ambiguous_name_is_refused_with_the_candidates() {
    let home = Home::new();
    let (one, two) = (home.add("openai", "Prod", "one"), home.add("openai", "Test", "two"));
    let refused = home.lf("keys remove openai --yes").fails(2, "ambiguous_key");
    assert!(refused.err.contains(&one) && refused.err.contains(&two), "{refused}");
    assert_eq!(home.names().len(), 2);
    // A label of one key that is the provider of another is not a safe name either.
    let third = home.add("mistral", "openai", "three");
    assert!(home.lf("keys remove openai --yes").fails(2, "ambiguous_key").err.contains(&third));
}

#[test]
fn a_prefix_that_a_damaged_key_shares_is_ambiguous() {
    let (home, id) = Home::with_key();
    let other = if id.as_bytes()[4] == b'0' { "1" } else { "0" };
    let damaged = format!("{}{}", &id[..4], other.repeat(22));
    fs::write(home.file(&damaged), "{}").unwrap();
    let refused = home.lf(&format!("keys remove --yes -- {}", &id[..4])).fails(2, "ambiguous_key");
    assert!(refused.err.contains(&format!("{damaged} (unreadable)")), "{refused}");
    assert_eq!(home.value(&id[..5]), VALUE);
}

#[test]
fn an_id_may_begin_with_a_dash() {
    let (home, id) = Home::with_key();
    let dashed = format!("-{}", &id[1..]);
    let text = fs::read_to_string(home.file(&id)).unwrap().replace(&id, &dashed);
    fs::rename(home.file(&id), home.file(&dashed)).unwrap();
    fs::write(home.file(&dashed), text).unwrap();
    home.lf(&format!("keys rotate {dashed}")).fails(2, "usage");
    home.lf(&format!("keys rotate -- {dashed}")).ok();
    assert_eq!(home.value(&dashed), VALUE);
}

#[test]
fn the_store_can_be_elsewhere() {
    let home = Home::new();
    let (root, keys) = (home.path().join("root"), home.path().join("deep/er/keys"));
    let id = home
        .lf("keys add --provider openai")
        .env("LENSERFIGHT_RUNTIME_DIR", &root)
        .input("v")
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert!(root.join("keys").join(format!("{id}.json")).exists());
    let id = home
        .lf("keys add --provider openai")
        .env("LENSERFIGHT_RUNTIME_DIR", &root)
        .env("LENSERFIGHT_KEYS_DIR", &keys)
        .input("v")
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert!(keys.join(format!("{id}.json")).exists());
    assert_eq!(mode(&home.path().join("deep")), 0o700);
    assert!(!home.keys().exists());
    home.lf("keys list").env("HOME", "").fails(2, "usage");
}

#[test]
fn init_makes_the_directory_for_an_environment_passphrase() {
    let home = Home::new();
    let made = home.lf("keys init").ok();
    assert!(
        made.out.contains("LENSERFIGHT_KEYS_PASSPHRASE")
            && made.out.contains("keychain was not changed"),
        "{made}"
    );
    assert_eq!(mode(&home.keys()), 0o700);
    home.lf("keys init").fails(2, "already_configured");
    home.lf("keys init")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "too short")
        .fails(2, "passphrase_invalid");
    home.lf("keys init --passphrase-stdin").input("another long passphrase").fails(2, "usage");
}

#[test]
fn init_takes_loose_permissions_away() {
    let home = Home::new();
    fs::create_dir_all(home.keys()).unwrap();
    support::chmod(&home.keys(), 0o755);
    let made = home.lf("keys init").ok();
    assert!(made.err.contains("could be reached by other users"), "{made}");
    assert_eq!(mode(&home.keys()), 0o700);
}

#[test]
fn errors_are_one_json_object_when_json_is_asked_for() {
    let home = Home::new();
    for (arguments, status, code) in [
        // Without a session bus there is no keychain that could be without an entry.
        ("keys add --json --provider openai", 1, "keychain_unavailable"),
        ("keys add --json", 2, "usage"),
        ("keys list --json --nonsense", 2, "usage"),
        ("keys doctor --json", 3, "checks_failed"),
    ] {
        let arguments = home.bare(arguments).go();
        assert_eq!(arguments.status, Some(status), "{arguments}");
        let report: json::Object =
            json::from_str(&arguments.err).unwrap_or_else(|_| panic!("{arguments}"));
        let Some(Value::Object(error)) = report.get("error") else { panic!("{arguments}") };
        assert_eq!(
            error.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
            ["code", "hint", "message"]
        );
        assert_eq!(member(error, "code"), code, "{arguments}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let (home, id) = Home::with_key();
    for arguments in [
        "keys list",
        "keys export Prod --i-understand",
        "keys rotate Prod",
        "keys doctor",
        "--help",
    ] {
        let full = home
            .lf(arguments)
            .under(&["sh", "-c", "exec \"$0\" \"$@\" > /dev/full"])
            .fails(1, "io_error");
        assert!(full.err.contains("standard output"), "{full}");
        home.lf(arguments).under(&["sh", "-c", "exec \"$0\" \"$@\" >&-"]).go();
    }
    assert_eq!(home.value(&id), VALUE);
    let added = home
        .lf("keys add --provider openai")
        .input("v")
        .under(&["sh", "-c", "exec \"$0\" \"$@\" > /dev/full"])
        .fails(1, "io_error");
    assert!(added.err.contains("added"), "the key is there, and that is said: {added}");
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error_unless_it_was_only_to_be_looked_at() {
    let (home, id) = Home::with_key();
    let unread = |arguments: &str| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = home.lf(arguments);
        let mut command = run.command();
        command.stdout(writer).stderr(std::process::Stdio::piped());
        run.finish(command.spawn().unwrap())
    };
    let exported = unread(&format!("keys export {id} --i-understand"));
    assert_eq!(exported.status, Some(1), "{exported}");
    assert!(exported.err.contains("\nlf: io_error: "), "{exported}");
    for looked_at in [
        "keys list",
        "keys list --json",
        "keys audit",
        "keys doctor",
        "gateway pairings --json",
        "help keys",
        "man",
        "completions bash",
    ] {
        let outcome = unread(looked_at);
        assert_eq!((outcome.status, outcome.err.as_str()), (Some(0), ""), "{looked_at}");
    }
}

#[test]
fn help_and_version_are_results() {
    let home = Home::new();
    let version = home.bare("--version").ok().out;
    let begin = concat!("lf ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.starts_with(begin) && version.lines().count() == 1, "{version}");
    assert_eq!(home.bare("version").ok().out, version);
    let json: json::Object = json::from_str(&home.bare("version --json").ok().out).unwrap();
    assert_eq!(json.keys().collect::<Vec<_>>(), ["commit", "libc", "target", "version"]);
    let commit = match &json["commit"] {
        Value::Null => String::new(),
        _ => format!(", commit {}", member(&json, "commit")),
    };
    let [number, target, libc] = ["version", "target", "libc"].map(|name| member(&json, name));
    let told = format!("lf {number} ({target}, {libc}{commit})\n");
    assert_eq!(told, version);
    for arguments in
        ["--help", "keys --help", "help", "help keys add", "keys add -h", "keys rotate Prod --help"]
    {
        let help = home.bare(arguments).ok();
        assert!(help.out.starts_with("Usage: lf "), "{help}");
        assert_eq!(help.err, "");
    }
    home.bare("").fails(2, "usage");
    home.bare("keys").fails(2, "usage");
}

#[test]
fn without_randomness_nothing_is_encrypted() {
    let home = Home::new();
    let add = home.lf("keys add --provider openai").input(VALUE);
    let refused = add.inject("getrandom:error=EIO").fails(1, "io_error");
    assert!(!refused.err.contains("panicked"), "{refused}");
    assert!(home.names().is_empty());
}

#[test]
fn what_is_odd_in_a_value_from_a_pipe_is_named_once_and_kept() {
    let home = Home::new();
    let cases = [
        ("sk-plain", None),
        ("{\"type\": \"service_account\"}", None),
        ("export OPENAI_API_KEY=sk-a", Some("surrounding name, a space at character 7")),
        ("\"sk-b\"", Some("surrounding quotes")),
        ("Bearer sk-c", Some("surrounding Bearer, a space at character 7")),
        ("sk-d\u{200b}", Some("surrounding spaces, an invisible character at character 5")),
        ("sk-e\u{a0}f", Some("a no-break space at character 5")),
        ("sk-\u{430}g", Some("a Cyrillic letter at character 4")),
        ("sk-h\n\n", Some("surrounding spaces, a line break at character 5")),
    ];
    for (at, (value, odd)) in cases.into_iter().enumerate() {
        let add = home.lf(&format!("keys add --provider openai --label L{at}"));
        let added = add.input(format!("{value}\n")).ok();
        let warnings: Vec<&str> =
            added.err.lines().filter(|line| line.contains("warning")).collect();
        match odd {
            None => assert!(warnings.is_empty(), "{added}"),
            Some(odd) => {
                let warning = "lf: warning: lf stores the value as it is, with ";
                assert_eq!(warnings, [format!("{warning}{odd}")], "{added}");
            }
        }
        assert!(!added.err.contains("sk-"), "{added}");
        assert_eq!(home.value(added.out.trim_end()), value);
    }
}
