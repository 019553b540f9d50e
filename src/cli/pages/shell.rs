//! The help pages of what a shell and its person ask for.

use crate::cli::help::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "completions",
        summary: "Prints the script with which a shell completes commands, flags, keys and files.",
        synopsis: "bash | zsh | fish",
        examples: &[
            (
                "lf completions bash",
                "for bash; in ~/.bashrc: source <(lf completions bash)",
            ),
            (
                "lf completions zsh",
                "for zsh; in ~/.zshrc, below compinit: source <(lf completions zsh)",
            ),
            (
                "lf completions fish > ~/.config/fish/completions/lf.fish",
                "for fish",
            ),
        ],
        flags: &[],
        notes: "make install puts them where the shells look. Labels and ids complete without a passphrase.",
    },
    Page {
        name: "man",
        summary: "Prints all of this as a man page (roff).",
        synopsis: "",
        examples: &[
            ("lf man | man -l -", "reads it"),
            (
                "lf man > ~/.local/share/man/man1/lf.1",
                "keeps it where man finds it",
            ),
        ],
        flags: &[],
        notes: "",
    },
    Page {
        name: "help",
        summary: "Prints the help of a command, every error code, or the way out of one error.",
        synopsis: "[TOPIC...]",
        examples: &[
            ("lf help keys add", "the same as lf keys add --help"),
            (
                "lf help errors",
                "every code, with exit code, HTTP status and what to do",
            ),
            ("lf help passphrase_conflict", "what to do about that one"),
        ],
        flags: &[],
        notes: "",
    },
];
