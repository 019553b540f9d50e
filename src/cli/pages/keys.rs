//! The help pages of `lf keys`.

use crate::cli::help::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "keys",
        summary: "Keys in ~/.lenserfight/keys, each encrypted under the master passphrase.",
        synopsis: "COMMAND [--help]",
        examples: &[
            (
                "lf keys add --provider openai --label Prod",
                "asks for the key's value, unseen, and stores it",
            ),
            ("lf keys list", "shows what is there; needs no passphrase"),
            ("lf keys doctor", "checks that every key opens"),
        ],
        flags: &[],
        notes: ID,
    },
    Page {
        name: "keys init",
        summary: "Makes the keys directory, and a new master passphrase in the keychain.",
        synopsis: "[--force] [--yes] [--passphrase-stdin]",
        examples: &[
            (
                "lf keys init",
                "a new random passphrase, which nobody needs to know",
            ),
            (
                "lf keys init --passphrase-stdin < sheet",
                "brings a passphrase from another machine, if it opens what is here",
            ),
            (
                "LENSERFIGHT_KEYS_PASSPHRASE_FILE=old lf keys init --force",
                "puts that passphrase (back) into the keychain, if it opens what is here",
            ),
        ],
        flags: &[
            (
                "--force",
                "replace the passphrase in the keychain; with one in the environment: store that one",
            ),
            (
                "--yes",
                "with --force: do not ask, even if keys become unreadable",
            ),
            (
                "--passphrase-stdin",
                "take the passphrase from standard input",
            ),
        ],
        notes: "With a passphrase in the environment, and without --force, the keychain is not changed: only the directory is made. A new passphrase has 16 or more characters.",
    },
    Page {
        name: "keys add",
        summary: "Stores a key; its value comes from standard input.",
        synopsis: "--provider PROVIDER [--label LABEL] [--json]",
        examples: &[
            (
                "lf keys add --provider openai --label Prod",
                "asks for the value, unseen",
            ),
            (
                "printf '%s' \"$OPENAI_API_KEY\" | lf keys add --provider openai",
                "takes it from a pipe; one trailing newline is dropped",
            ),
        ],
        flags: &[
            (
                "--provider PROVIDER",
                "who the key is for: a lower-case name of 2 to 32 characters",
            ),
            (
                "--label LABEL",
                "what you call it, 1 to 64 characters; the provider's name otherwise",
            ),
            ("--json", "print the new key's metadata instead of its id"),
        ],
        notes: "The new id is all that is printed. A value is UTF-8 text of 1 to 65,536 bytes. At a terminal it is one line, and blanks and quotes around it are left out, which is said; from a pipe every byte counts. A value that begins like a key of another provider is stored as you say, with a warning.",
    },
    Page {
        name: "keys list",
        summary: "Shows every key's id, provider, creation time, last use and label, oldest first; needs no passphrase.",
        synopsis: "[--json [--last-used]]",
        examples: &[
            ("lf keys list", "a table"),
            (
                "lf keys list --json",
                "an array of {id, provider, label, createdAt}",
            ),
        ],
        flags: &[
            ("--json", "for programs"),
            (
                "--last-used",
                "with --json: and lastUsedAt, or null; the table has it anyway",
            ),
        ],
        notes: "A key was used when its value was last given to somebody, as far as the audit log goes back; else -. Files that cannot be read are named on standard error and left out.",
    },
    Page {
        name: "keys update",
        summary: "Gives a key a new label, a new value, or both; its id stays.",
        synopsis: "ID [--label LABEL] [--rotate]",
        examples: &[
            (
                "lf keys update Prod --label Old",
                "renames it; needs no passphrase",
            ),
            (
                "printf '%s' \"$NEW\" | lf keys update Prod --rotate",
                "replaces its value",
            ),
        ],
        flags: &[
            ("--label LABEL", "the new label, 1 to 64 characters"),
            ("--rotate", "take a new value from standard input"),
        ],
        notes: ID,
    },
    Page {
        name: "keys rotate",
        summary: "Re-encrypts keys under a fresh salt and IV; their values stay.",
        synopsis: "ID... | --all | ID --new-value",
        examples: &[
            ("lf keys rotate Prod", "one key"),
            ("lf keys rotate --all", "every key, on all cores"),
            (
                "printf '%s' \"$NEW\" | lf keys rotate Prod --new-value",
                "replaces the value, as update --rotate does",
            ),
        ],
        flags: &[
            ("--all", "every key"),
            (
                "--new-value",
                "take a new value for the one key from standard input",
            ),
        ],
        notes: ID,
    },
    Page {
        name: "keys remove",
        summary: "Removes a key for good.",
        synopsis: "ID [--yes]",
        examples: &[
            ("lf keys remove Prod", "asks first"),
            ("lf keys remove Prod --yes", "does not ask; for scripts"),
        ],
        flags: &[("--yes", "do not ask")],
        notes: ID,
    },
    Page {
        name: "keys export",
        summary: "Writes a key's value to standard output, in the clear.",
        synopsis: "ID --i-understand",
        examples: &[(
            "lf keys export Prod --i-understand | pbcopy",
            "the value and a newline, into another program",
        )],
        flags: &[("--i-understand", "yes, in the clear")],
        notes: ID,
    },
    Page {
        name: "keys run",
        summary: "Runs a program with keys in its environment, or with one on its standard input.",
        synopsis: "[--key ID]... [--env NAME=ID]... [--stdin ID] [--override] -- CMD [ARG]...",
        examples: &[
            (
                "lf keys run --key openai -- llm 'hello'",
                "llm finds the key in OPENAI_API_KEY; the shell never sees it",
            ),
            (
                "lf keys run --key openai --env MY_TOKEN=Prod -- make release",
                "two keys, one of them in a variable of your own",
            ),
            (
                "lf keys run --stdin github -- gh auth login --with-token",
                "the value alone, without a newline, for what reads it there",
            ),
        ],
        flags: &[
            (
                "--key ID...",
                "into the variable that the provider's programs read, else PROVIDER_API_KEY",
            ),
            ("--env NAME=ID...", "into this variable"),
            ("--stdin ID", "onto standard input, in place of lf's own"),
            (
                "--override",
                "also into variables that are set already and not empty",
            ),
        ],
        notes: "ID is as in lf keys --help; one that begins with a dash is written --key=ID. CMD takes lf's place: signals, terminal and exit code are its own. If it is not there the exit code is 127, if it cannot be run 126; then, and if any key does not open, nothing has started. It gets the keys that are named and no other, and none of LENSERFIGHT_KEYS_PASSPHRASE, its _FILE and its _FORCE_ENV.",
    },
    Page {
        name: "keys backup",
        summary: "Writes all keys, encrypted as they are, into one file (plain tar); asks for no passphrase.",
        synopsis: "FILE [--force]",
        examples: &[
            (
                "lf keys backup keys-2026-11-22.tar",
                "every key, and their SHA256SUMS",
            ),
            (
                "tar tvf keys-2026-11-22.tar",
                "what is in it; nothing but ciphertext, labels and times",
            ),
        ],
        flags: &[("--force", "overwrite FILE if it exists")],
        notes: "It opens with the master passphrase of the day; keep a recovery sheet with it. Pairings are not in it.",
    },
    Page {
        name: "keys restore",
        summary: "Puts the keys of a backup back; never over one that is here and not the same, unless told.",
        synopsis: "FILE [--missing | --force]",
        examples: &[
            ("lf keys restore keys-2026-11-22.tar", "all of them"),
            (
                "lf keys restore keys-2026-11-22.tar --missing",
                "those that are not here any more",
            ),
        ],
        flags: &[
            ("--missing", "leave keys that are here as they are"),
            ("--force", "put the backup's keys in place of those here"),
        ],
        notes: "Keys that do not open with the present master passphrase are not put among others that do.",
    },
    Page {
        name: "keys recovery",
        summary: "The master passphrase as a sheet to print, and back from it.",
        synopsis: "COMMAND [--help]",
        examples: &[
            (
                "lf keys recovery export --i-understand | lpr",
                "prints the sheet",
            ),
            (
                "lf keys recovery import",
                "asks for its lines, on this or another machine",
            ),
        ],
        flags: &[],
        notes: "The sheet and a copy of the keys directory, or a backup, are all that it takes to get every key back.",
    },
    Page {
        name: "keys recovery export",
        summary: "Writes the master passphrase to standard output, as a sheet to keep on paper.",
        synopsis: "--i-understand",
        examples: &[(
            "lf keys recovery export --i-understand | lpr",
            "in groups, with checks that catch a mistyped character",
        )],
        flags: &[("--i-understand", "yes, in the clear")],
        notes: "A change of the master passphrase (lf keys rekey) makes older sheets useless.",
    },
    Page {
        name: "keys recovery import",
        summary: "Takes the master passphrase from a sheet; into the keychain, once it opens what is here.",
        synopsis: "",
        examples: &[
            (
                "lf keys recovery import",
                "asks for the lines of the sheet, one by one",
            ),
            ("lf keys recovery import < sheet", "takes them from a file"),
        ],
        flags: &[],
        notes: "Copy the keys directory first, or lf keys restore FILE.",
    },
    Page {
        name: "keys adopt",
        summary: "Takes over what the Node-based predecessor left in the clear: into the keychain, off the disk.",
        synopsis: "",
        examples: &[(
            "lf keys adopt",
            "its master passphrase, and the token of its paired browser",
        )],
        flags: &[],
        notes: "The files go only once the passphrase has opened keys and the keychain has given it back. Overwriting cannot reach what snapshots, journals and flash disks keep: lf keys rekey makes that worthless.",
    },
    Page {
        name: "keys import",
        summary: "Stores the keys that are in a dotenv file, or in variables of the environment.",
        synopsis: "--dotenv FILE [NAME...] | --env NAME... [--yes] [--json]",
        examples: &[
            (
                "lf keys import --dotenv .env",
                "shows which variables are keys, by name, and asks",
            ),
            (
                "lf keys import --env OPENAI_API_KEY HF_TOKEN",
                "takes these from lf's own environment",
            ),
        ],
        flags: &[
            (
                "--dotenv FILE",
                "those of its variables that are keys, or only the ones that are named",
            ),
            ("--env", "the variables that are named"),
            ("--yes", "do not ask"),
            (
                "--json",
                "print the new keys' metadata instead of NAME=ID lines",
            ),
        ],
        notes: "A key is what has a known provider's variable or prefix, or a name that ends in _API_KEY or _API_TOKEN. The variable's name becomes the label; a key that is there under the same provider and label is left alone, so the same again adds nothing twice. A line that cannot be read, or that means different things to different programs, is named by its number; the others are imported, and the exit code is 1. FILE stays as it is.",
    },
    Page {
        name: "keys audit",
        summary: "Shows who did what to which key and when, oldest first; needs no passphrase.",
        synopsis: "[--key ID] [--since TIME] [--tail N] [--json]",
        examples: &[
            (
                "lf keys audit --since 7d",
                "the last week: time, kind, result, key, and where from",
            ),
            (
                "lf keys audit --key Prod --tail 20",
                "the last 20 events of one key",
            ),
        ],
        flags: &[
            (
                "--key ID",
                "of one key; of one that was removed, by its whole id",
            ),
            (
                "--since TIME",
                "not before: a span such as 7d or 12h, or a date, or a date and time (UTC)",
            ),
            ("--tail N", "the last N of them; all otherwise"),
            ("--json", "an array of the log's lines as they are"),
        ],
        notes: "The log is audit.log beside the keys, and at 5 MiB it becomes audit.log.1, so it does not go back for ever. Lines that are no events are counted on standard error. Reading it is not an event.",
    },
    Page {
        name: "keys rekey",
        summary: "Re-encrypts every key, and the gateway's sealed tokens, under a new master passphrase.",
        synopsis: "[--passphrase-stdin | --finish | --undo]",
        examples: &[
            (
                "lf keys rekey",
                "a new random passphrase, in the keychain; nobody needs to know it",
            ),
            (
                "lf keys rekey --passphrase-stdin < new",
                "one of your own, of 16 or more characters",
            ),
        ],
        flags: &[
            (
                "--passphrase-stdin",
                "take the new passphrase from standard input",
            ),
            (
                "--finish",
                "finish or undo a change that was cut short; nothing else",
            ),
            (
                "--undo",
                "drop a change that still waits for its passphrase to be configured",
            ),
        ],
        notes: "It may be killed at any moment: every key opens with the passphrase that is configured then, and the next command that needs it finishes or undoes the change, and says so. With a passphrase from the environment, everything waits under the new one until you have set it there.",
    },
    Page {
        name: "keys doctor",
        summary: "Checks everything, and that every key opens; exit code 3 if something is wrong.",
        synopsis: "[--fix] [--json]",
        examples: &[
            (
                "lf keys doctor",
                "every check by name, with the command that mends it",
            ),
            (
                "lf keys doctor --fix",
                "also repairs modes and removes left-over temporary files",
            ),
        ],
        flags: &[
            (
                "--fix",
                "repair modes and remove stale temporary files, nothing else",
            ),
            ("--json", "for programs"),
        ],
        notes: "Without --fix nothing is changed.",
    },
];

const ID: &str = "ID is a key's id, or 4 or more of its first characters, or a label or provider that only one key has. An ID that begins with a dash goes after --.";
