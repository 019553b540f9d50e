//! The table of providers: its names, aliases and variables, at the command line and in the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use miniserde::json::{self, Object, Value};
use support::gateway::Gateway;
use support::pty::Terminal;
use support::{Home, PASSPHRASE, Run, VALUE};

/// `lf keys add` with this provider, and a value that no table knows.
fn add(home: &Home, provider: &str) -> Run {
    let run = home.words(&["keys", "add", "--json", "--provider", provider]);
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).input("v-0123456789")
}

fn member(json: &str, name: &str) -> String {
    let object: Object = json::from_str(json).unwrap();
    let Value::String(text) = &object[name] else { panic!("{json}") };
    text.clone()
}

#[test]
fn every_provider_is_shown_and_the_page_offers_the_same() {
    let home = Home::new();
    let table = home.bare("keys providers").ok().out;
    let json = home.bare("keys providers --json").ok().out;
    let rows: Vec<Object> = json::from_str(&json).unwrap();
    let gateway = Gateway::start(&home);
    let page = gateway.ask("GET /", &[], "").body;
    let list = page.split_once("<datalist id=\"providers\">").unwrap().1;
    let mut list = list.split_once("</datalist>").unwrap().0.split("<option>").skip(1);
    let mut lines = table.lines().skip(1);
    for row in &rows {
        let text = |name: &str| match &row[name] {
            Value::String(text) => text.clone(),
            Value::Array(words) => {
                let word = |value: &Value| match value {
                    Value::String(word) => word.clone(),
                    other => panic!("{other:?}"),
                };
                words.iter().map(word).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        };
        let line = lines.next().unwrap();
        for cell in ["name", "what", "variables", "prefixes", "aliases"] {
            assert!(line.contains(&text(cell)), "{line}");
        }
        assert_eq!(list.next(), Some(text("name").as_str()));
    }
    assert_eq!((lines.next(), list.next()), (None, None));
    assert!(json.contains(r#"{"name":"google","aliases":["gemini"],"what":"Google Gemini","#));
    assert!(table.lines().all(|line| !line.ends_with(' ')) && page.len() < 8 * 1024);
    gateway.ends();
}

#[test]
fn an_alias_in_any_case_stands_for_the_name() {
    let home = Home::new();
    for (typed, name) in [
        ("hf", "huggingface"),
        ("hugging-face", "huggingface"),
        ("OpenAI", "openai"),
        ("Gemini", "google"),
        ("claude", "anthropic"),
        ("my-own", "my-own"),
    ] {
        let added = add(&home, typed).ok();
        assert_eq!(member(&added.out, "provider"), name, "{typed}");
        assert_eq!(member(&added.out, "label"), name, "{typed}");
        // Two of them are the same provider, and so have the same label.
        assert!(added.err.is_empty() || added.err.contains("\"duplicate_key\""), "{added}");
    }
    // Nobody knows whether that is the same as my-own.
    home.lf("keys add --provider My-Own").fails(2, "invalid_provider");
}

#[test]
fn a_slip_in_a_known_name_is_said_and_only_a_person_is_asked() {
    let home = Home::new();
    for (typed, meant) in [("opnai", "openai"), ("goggle", "google"), ("antropic", "anthropic")] {
        let added = add(&home, typed).ok();
        assert!(added.err.contains(&format!("did you mean {meant}?")), "{added}");
        assert_eq!(member(&added.out, "provider"), typed);
    }
    for own in ["llama", "azure", "bedrock", "openai-work", "mine", "work"] {
        assert_eq!(add(&home, own).ok().err, "", "{own}");
    }
    let run = home.lf("keys add --provider opnai");
    for (answer, status) in [("no\r", 2), ("yes\r", 0)] {
        let mut terminal = Terminal::start(&run);
        terminal.sees("did you mean openai?").sees("anyway?").types(answer);
        if status == 0 {
            terminal.sees("value of the opnai key").types("v-0123456789\r");
        }
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(status), "{screen}");
    }
}

#[test]
fn ollama_without_a_value_is_told_that_it_needs_none_here() {
    let home = Home::new();
    let refused = home.lf("keys add --provider ollama").fails(2, "empty_key");
    assert!(refused.err.contains("a local Ollama needs no key"), "{refused}");
    assert!(!home.keys().exists());
    assert!(!add(&home, "openai").ok().err.contains("Ollama"));
}

#[test]
fn a_google_key_goes_into_both_variables_that_its_programs_read() {
    let home = Home::new();
    let id = home.add("gemini", "New", VALUE);
    let run = |flags: &str| {
        let run = home.lf(&format!("keys run {flags} -- printenv GEMINI_API_KEY GOOGLE_API_KEY"));
        run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
    };
    let both = format!("{VALUE}\n{VALUE}\n");
    assert_eq!(run("--key google").ok().out, both);
    // v1 does not authenticate the provider, so this is a key of an older version.
    let envelope = fs::read_to_string(home.file(&id)).unwrap();
    assert!(envelope.contains(r#""provider":"google""#));
    fs::write(home.file(&id), envelope.replace(r#""google""#, r#""gemini""#)).unwrap();
    assert_eq!(run("--key gemini").ok().out, both);
    let set = run("--key gemini").env("GOOGLE_API_KEY", "other").fails(2, "refused");
    assert!(set.err.contains("GOOGLE_API_KEY is already set"), "{set}");
    assert_eq!(run("--key gemini --override").env("GOOGLE_API_KEY", "other").ok().out, both);
}

#[test]
fn googles_keys_are_known_by_variable_and_by_either_prefix() {
    let home = Home::new();
    let file = home.path().join(".env");
    let text = "GEMINI_API_KEY=a1\nGOOGLE_API_KEY=a2\nGOOGLE_AI_API_KEY=a3\n\
        GOOGLE_GENERATIVE_AI_API_KEY=a4\nFIRST=AIzaSy-x\nSECOND=AQ.Ab8-x\n";
    fs::write(&file, text).unwrap();
    home.lf(&format!("keys import --yes --dotenv {}", file.display())).ok();
    let listed: Vec<Object> = json::from_str(&home.lf("keys list --json").ok().out).unwrap();
    assert_eq!(listed.len(), 6);
    for key in &listed {
        assert!(matches!(&key["provider"], Value::String(name) if name == "google"), "{key:?}");
    }
    let said = home.words(&["keys", "add", "--provider", "AQ.Ab8RN6Jabcdefgh0123"]);
    said.fails(2, "secret_in_argv");
}

#[test]
fn another_name_of_a_provider_selects_its_only_key() {
    let home = Home::new();
    home.add("huggingface", "Models", VALUE);
    for name in ["hf", "HF", "hugging-face", "huggingface", "HuggingFace"] {
        assert_eq!(home.lf(&format!("keys get {name}")).ok().out, VALUE, "{name}");
    }
    let run = home.lf("keys run --key hf -- printenv HF_TOKEN").ok();
    assert_eq!(run.out, format!("{VALUE}\n"));
    // What is called so itself comes first.
    home.add("openai", "hf", "of the label");
    assert_eq!(home.lf("keys get hf").ok().out, "of the label");
    home.lf("keys remove openai --yes").ok();
    home.add("huggingface", "More", "v");
    let refused = home.lf("keys get hf").fails(2, "ambiguous_key");
    assert!(refused.err.contains("Models") && refused.err.contains("More"), "{refused}");
    home.lf("keys get claude").fails(1, "key_not_found");
    // A key that was stored under an alias, before it was one.
    let id = home.add("groq", "Gem", "g");
    let text = fs::read_to_string(home.file(&id)).unwrap();
    fs::write(home.file(&id), text.replace("\"groq\"", "\"gemini\"")).unwrap();
    for name in ["gemini", "google"] {
        assert_eq!(home.lf(&format!("keys get {name}")).ok().out, "g");
    }
    home.add("google", "New", "new");
    assert_eq!(home.lf("keys get gemini").ok().out, "g", "its own name is nearer");
    assert_eq!(home.lf("keys get google").ok().out, "new");
}
