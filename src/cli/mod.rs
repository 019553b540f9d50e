//! The command line: parsed, run, reported. A bad combination of arguments is refused before any file
//! is opened.

mod args;
mod commands;
pub(crate) mod complete;
mod format;
mod help;
mod man;
mod suggest;
mod table;
mod topic;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::base::{printable, shell, shown};
use crate::error::{Error, Result};
use crate::system::{environment::Environment, host, kernel::memory};

use self::{args::Args, args::JSON, commands::Command, format::Format, help::Page, help::page_of};

/// The whole life of a run: parse, run, report, exit.
pub fn main() -> ExitCode {
    memory::share_one_heap();
    host::harden();
    let argv = host::args();
    let format = wanted_format(&argv);
    match parse(argv).and_then(|command| command.run(Environment::read())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            host::eprint(&report(&error, format));
            ExitCode::from(error.exit_code())
        }
    }
}

fn report(error: &Error, format: Format) -> String {
    let hint = error.hint().map(|hint| shell::hint(&hint));
    let (code, message) = (error.code(), error.to_string());
    if format == Format::Json {
        let (message, hint) = (Some(message.as_str()), hint.as_deref());
        let members = [("code", Some(code)), ("message", message), ("hint", hint)];
        return format::message("error", members);
    }
    // It may have a path in it, and a file's name may have anything.
    let hint = hint.map(|hint| format!("lf: hint: {}\n", printable(&hint))).unwrap_or_default();
    format!("lf: {code}: {}\n{hint}", printable(&message))
}

/// Parses a command line. If it is wrong, the error's hint names the help page.
pub(crate) fn parse(mut argv: Vec<OsString>) -> Result<Command> {
    // Only the scripts of `lf completions` ask this. It is on no help page, and never fails.
    if argv.first().is_some_and(|word| word == "complete") {
        return Ok(commands::complete(argv));
    }
    if argv.first().is_some_and(is_json) {
        // Behind the command, where its other flags are.
        let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
        argv[..end].rotate_left(1);
    }
    let (page, words) = page_of(&argv);
    let rest = argv.split_off(words);
    let mut parsed = if page.is_command() {
        match Args::take(page, rest) {
            Ok(Some(mut args)) => commands::build(&mut args),
            Ok(None) => Ok(Command::Print(help::text(page, help::columns()))),
            Err(error) => Err(error),
        }
    } else {
        group(page, &rest)
    };
    if let Err(Error::Usage { hint, .. }) = &mut parsed {
        hint.get_or_insert_with(|| format!("{} --help", page.full_name()));
    }
    parsed
}

fn group(page: &Page, rest: &[OsString]) -> Result<Command> {
    let (name, is_program) = (page.full_name(), page.name.is_empty());
    let Some((word, behind)) = rest.split_first() else {
        let error = Error::usage(format!("{name} needs a command"));
        return if is_program {
            Ok(Command::Fail(help::text(page, help::columns()), error))
        } else {
            Err(error)
        };
    };
    match &*word.to_string_lossy() {
        "-h" | "--help" => Ok(Command::Print(help::text(page, help::columns()))),
        "-V" | "--version" if is_program => Ok(Command::Print(version::text(Format::Text))),
        "identity" if page.name == "gateway" => Err(Error::Usage {
            sentence: IDENTITY.to_owned(),
            hint: Some("lf gateway serve --keys-only".to_owned()),
        }),
        word => Err(unknown(page, word, behind)),
    }
}

/// There is no such command; the hint suggests one, with the words behind it.
fn unknown(group: &Page, word: &str, rest: &[OsString]) -> Error {
    let name = group.full_name();
    let sentence = format!("{name} has no command \"{}\"", shown(word));
    let hint = suggest::command(group, word).map(|page| {
        let words = page.name.split(' ').map(OsString::from);
        let (page, _) = page_of(&words.chain(rest.iter().cloned()).collect::<Vec<_>>());
        format!("did you mean lf {}? If not: {name} --help", page.name)
    });
    Error::Usage { sentence, hint }
}

/// The format for errors, which is known even if the command line cannot be parsed.
fn wanted_format(argv: &[OsString]) -> Format {
    let mut flags = argv.iter().take_while(|word| *word != "--");
    if flags.any(is_json) { Format::Json } else { Format::Text }
}

fn is_json(word: &OsString) -> bool {
    word == JSON.0 || word == JSON.1
}

const IDENTITY: &str = "lf makes no identity for this device, and needs none with --keys-only; full mode still uses an identity that the predecessor made";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::pages;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn refused(line: &str) -> Error {
        parsed(line).err().unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn every_page_is_reachable_and_every_command_is_built() {
        for page in pages() {
            let Ok(Command::Print(text)) = parsed(&format!("{} --help", page.name)) else {
                panic!("no help for {}", page.name)
            };
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(page.synopsis), "{}", page.name);
            if page.is_command() {
                let line = format!("{} {}", page.name, page.example_arguments());
                assert!(parsed(&line).is_ok(), "{line}: {:?}", parsed(&line).err());
            }
        }
    }

    #[test]
    fn no_help_is_wider_than_a_terminal() {
        for page in pages() {
            for line in help::text(page, 80).lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", page.name);
            }
        }
    }

    #[test]
    fn bad_command_lines_are_refused() {
        for line in [
            "keys",
            "key list",
            "keys lst",
            "-x",
            "keys -x",
            "gateway nothing",
            "keys list openai groq",
            "keys list openai --provider groq",
            "keys list --stale=soon",
            "keys list --stale 90",
            "keys list --stale 6m",
            "keys list --stale --stale",
            "keys list --label",
            "keys list --jsn",
            "keys list --json --json",
            "keys list --json=1",
            "keys list -y",
            "keys add",
            "keys add --provider",
            "keys add --provider --json",
            "keys add --provider openai --provider openai",
            "keys add --provider openai --label",
            "keys add --provider openai --expires",
            "keys add --provider openai --expires 6m",
            "keys add --provider openai --expires 2020-01-01",
            "keys update x --expires soon",
            "keys add --label --json --provider openai",
            "keys update x",
            "keys update --label a",
            "keys update x y --label a",
            "keys update --rotate",
            "keys rotate",
            "keys rotate --all x",
            "keys rotate --all --new-value",
            "keys rotate --new-value",
            "keys rotate --new-value a b",
            "keys remove",
            "keys get",
            "keys get a b",
            "keys allow x",
            "keys run --env-file -- true",
            "keys export",
            "keys export a b --i-understand",
            "keys init x",
            "keys init --yes",
            "keys init --passphrase-file",
            "keys init --force --passphrase-file x",
            "keys doctor x",
            "keys rekey x",
            "keys rekey --undo --passphrase-stdin",
            "keys rekey --undo --finish",
            "keys run --key x --env 1A=x -- true",
            "keys run --key x --env A -- true",
            "keys run --key x --env =x -- true",
            "keys run --key x --env A= -- true",
            "keys run --env LENSERFIGHT_KEYS_PASSPHRASE=x -- true",
            "keys run --env LENSERFIGHT_KEYS_PASSPHRASE_FILE=x -- true",
            "keys run --stdin x --stdin y -- true",
            "keys run --key x --override --override -- true",
            "keys import --cloud --env A",
            "keys import --cloud --all x",
            "keys import --all",
            "cloud",
            "cloud schema x",
            "keys run --key -- true",
            "keys run --key x y -- true",
            "keys run --key x --env -- true",
            "keys run --kye x -- true",
            "keys recovery",
            "keys recovery print",
            "keys recovery export x",
            "keys recovery import x",
            "keys restore",
            "keys restore a --force",
            "keys restore a --replaced",
            "keys adopt x",
            "keys import",
            "keys import .env",
            "keys import --env",
            "keys import --dotenv",
            "keys import --env --dotenv .env A",
            "keys audit x",
            "keys audit --tail many",
            "keys audit --tail",
            "keys audit --tail=-1",
            "keys audit --since yesterday",
            "keys audit --key",
            "keys audit --key a --key b",
            "gateway install x",
            "gateway uninstall x",
            "gateway unpair",
            "gateway unpair a --all",
            "gateway pair x",
            "gateway pair --expires soon",
            "gateway pair --key",
            "gateway pair --allow",
            "gateway pair --allow=",
            "gateway pair --allow list,,add",
            "gateway pair --allow fly",
            "gateway pair --allow list --allow add",
            "gateway pair --allow list --read-only",
            "gateway pair --key x --allow list,add",
            "gateway status x",
            "gateway status --keys-only",
            "gateway doctor x",
            "gateway consent",
            "gateway consent give",
            "gateway consent show x",
            "gateway consent grant",
            "gateway consent grant wireguard",
            "gateway consent grant tailscale tailscale",
            "gateway consent grant tailscale --notes",
            "gateway consent revoke wireguard",
            "help nothing",
            "version x",
        ] {
            let error = refused(line);
            assert_eq!((error.code(), error.exit_code()), ("usage", 2), "{line}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("--help")), "{line}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_text_is_said_to_be_none() {
        use std::os::unix::ffi::OsStringExt;
        for last in [&b"--key=\xff"[..], b"--\xff", b"\xff"] {
            let mut argv: Vec<OsString> = ["keys", "audit"].map(Into::into).into();
            argv.push(OsString::from_vec(last.to_vec()));
            let error = parse(argv).err().unwrap();
            assert!(error.to_string().contains("not UTF-8"), "{error}");
        }
    }

    #[test]
    fn where_an_id_goes_is_said_where_one_may_stand() {
        for (line, is_said) in [
            ("keys remove -x", true),
            ("keys list -x", false),
            ("keys restore -x", false),
            ("keys run -x -- true", false),
        ] {
            let sentence = refused(line).to_string();
            assert_eq!(sentence.contains("an ID that"), is_said, "{sentence}");
        }
    }

    #[test]
    fn a_refused_export_is_hinted_at_as_it_can_be_typed() {
        let words = ["keys", "export", "--", "-my key"].map(OsString::from);
        let hint = parse(words.into()).err().unwrap().hint();
        let typed = r"lf keys export --i-understand -- -my\ key";
        assert_eq!(hint.as_deref(), Some(typed));
    }

    #[test]
    fn secrets_in_argv_are_refused_and_not_repeated() {
        for line in [
            "keys add sk-abcdefghijklmnop --provider openai",
            "keys add --provider openai anything",
            "keys add --key sk-abcdefghijklmnop",
            "keys add --provider openai --key=sk-abcdefghijklmnop",
            "keys add --provider openai --value x",
            "keys add --provider sk-proj-abcdefgh0123456789",
            "keys init --passphrase correct",
            "keys add --provider openai --label sk-abcdefghijklmnop",
            "keys update Prod --label 0123456789abcdefgh0123456789ABCD",
            "keys rotate Prod --new-value sk-abcdefghijklmnop",
            "keys update Prod --rotate sk-abcdefghijklmnop",
            "keys add --provider openai --api-key x --api-key y",
            "keys audit --key sk-abcdefghijklmnop",
            "keys audit --key=sk-abcdefghijklmnop",
            "keys audit --token x",
            "keys import --env OPENAI_API_KEY=abcdefgh",
            "keys import --env sk-abcdefghijklmnop",
            "keys import --dotenv .env OPENAI_API_KEY=abcdefgh",
            "keys list --key Prod",
            "keys run --key sk-abcdefghijklmnop -- true",
            "keys run --key=sk-abcdefghijklmnop -- true",
            "keys run --key x --key sk-abcdefghijklmnop -- true",
            "keys run --env OPENAI_API_KEY=sk-abcdefghijklmnop -- true",
            "keys run --stdin sk-abcdefghijklmnop -- true",
            "keys run --value x -- true",
            "keys export --key x --i-understand",
        ] {
            let error = refused(line);
            assert_eq!((error.code(), error.exit_code()), ("secret_in_argv", 2), "{line}: {error}");
            assert!(
                !error.to_string().contains("abcdefgh") && !error.to_string().contains("correct"),
                "{error}"
            );
        }
    }

    #[test]
    fn short_flags_and_a_flag_before_the_command_are_what_they_stand_for() {
        for line in [
            "keys list -j",
            "--json keys list",
            "-j keys list",
            "keys add -p openai -l Prod -j",
            "keys remove -y Prod",
            "keys audit -k Prod",
            "keys run -k Prod -e A=Prod -- env -p -l",
            "version",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line).err());
        }
        // A value that was typed is not shown, whatever the flag is called.
        assert_eq!(refused("keys audit -k sk-abcdefghijklmnop").code(), "secret_in_argv");
    }

    #[test]
    fn words_of_other_tools_lead_to_the_command() {
        for (line, command) in [
            ("show Prod", "lf keys get"),
            ("keys show Prod", "lf keys get"),
            ("keys rm Prod", "lf keys remove"),
            ("keys delete Prod", "lf keys remove"),
            ("keys rename Prod", "lf keys update"),
            ("keys edit Prod", "lf keys update"),
            ("keys exec Prod", "lf keys run"),
            ("exec Prod", "lf keys run"),
            ("keys set Prod", "lf keys add"),
            ("keys new Prod", "lf keys add"),
            ("ls", "lf keys list"),
            ("gateway start", "lf gateway serve"),
            ("gateway stop", "lf gateway uninstall"),
        ] {
            let hint = refused(line).hint().unwrap();
            assert!(hint.contains(&format!("{command}?")), "{line}: {hint}");
        }
    }

    #[test]
    fn a_slip_at_add_is_no_secret() {
        for (line, sentence, hint) in [
            ("keys add openai", "--provider", "lf keys add --provider openai"),
            ("keys add help", "--provider", "lf keys add --help"),
            ("keys add --provider openai --label my label", "quotes", "--label 'my label'"),
            ("keys add --label my label", "quotes", "--label 'my label'"),
        ] {
            let error = refused(line);
            assert_eq!(error.code(), "usage", "{line}");
            let (said, hinted) = (error.to_string(), error.hint().unwrap());
            assert!(said.contains(sentence) && hinted.contains(hint), "{line}: {said}; {hinted}");
        }
    }

    #[test]
    fn the_error_format_is_known_even_if_nothing_else_is() {
        let format =
            |line: &str| wanted_format(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(format("keys lst --json"), Format::Json);
        assert_eq!(format("keys remove -- --json"), Format::Text);
    }
}
