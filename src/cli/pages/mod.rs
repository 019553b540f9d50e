//! The help pages, one table: it also says which flags a command has.

mod gateway;
mod keys;
mod shell;

use super::help::Page;

/// Every page, the program's first.
pub(super) fn pages() -> impl Iterator<Item = &'static Page> {
    let commands = keys::PAGES.iter().chain(gateway::PAGES).chain(shell::PAGES);
    [&PROGRAM].into_iter().chain(commands)
}

pub(super) static PROGRAM: Page = Page {
    name: "",
    summary: "An encrypted store for the API keys you pay for, on this machine.",
    synopsis: "COMMAND [--help]",
    examples: &[
        (
            "lf keys init",
            "makes the store, and a master passphrase in the keychain",
        ),
        (
            "lf keys add --provider openai --label Prod",
            "asks for the key's value, unseen, and stores it",
        ),
        ("lf keys list", "shows what is there"),
    ],
    flags: &[
        ("--help", "this, or the help of a command"),
        ("--version", "name and version"),
    ],
    notes: "Exit codes: 0 done, 1 failed, 2 usage, refused or aborted,\n3 a check or precondition failed, 4 gateway not reachable,\n5 a trust state forbids it. lf help errors lists every error.\nResults go to standard output, everything else to standard error.",
};
