//! Help pages of the gateway that [`super::pages`] has no room for.

use super::help::Page;

pub(super) const STATUS: Page = Page {
    name: "gateway status",
    summary: "Is a gateway running? Its address, version, clock and pairings; exit code 4 if none is.",
    synopsis: "[--bind ADDR] [--port N] [--json]",
    examples: &[
        ("lf gateway status", "asks on 127.0.0.1:38080"),
        ("lf gateway status --port 38081", "asks another one"),
    ],
    flags: &[BIND, PORT, ("--json", "for programs")],
    notes: "Exit code 4 also if something else listens there, which it says.",
};

pub(super) const DOCTOR: Page = Page {
    name: "gateway doctor",
    summary: "Checks all that the gateway needs, and asks the running one; exit code 3 if something is wrong.",
    synopsis: "[--keys-only] [--bind ADDR] [--port N] [--tailscale] [--json]",
    examples: &[
        (
            "lf gateway doctor",
            "preconditions, consent, address, the running gateway, pairings",
        ),
        (
            "lf gateway doctor --tailscale --bind 100.88.58.68",
            "what lf gateway serve would say to the same flags",
        ),
    ],
    flags: &[
        (
            "--keys-only",
            "leave out what lf gateway serve --keys-only does without",
        ),
        BIND,
        PORT,
        ("--tailscale", "as for lf gateway serve: a consent must fit"),
        ("--json", "for programs"),
    ],
    notes: "Nothing is changed. What full mode alone needs is a note, and no failure, until there is an identity in\n<root>/gateway/identity.json. That no gateway runs is a note too.",
};

pub(super) const CONSENT: Page = Page {
    name: "gateway consent",
    summary: "Whether full mode may be reached over Tailscale.",
    synopsis: "COMMAND [--help]",
    examples: &[
        (
            "lf gateway consent grant tailscale",
            "consents to the Tailscale interfaces that this machine has now",
        ),
        ("lf gateway consent show", "what was consented to"),
    ],
    flags: &[],
    notes: "lf gateway serve --keys-only needs no consent.",
};

pub(super) const CONSENT_SHOW: Page = Page {
    name: "gateway consent show",
    summary: "Shows what was consented to, by whom and when, and whether that is still there.",
    synopsis: "[--json]",
    examples: &[("lf gateway consent show", "one line for each interface")],
    flags: &[("--json", "print {consent, holds, live}")],
    notes: "A consent counts as none when no live interface has a name, address and prefix of it.",
};

pub(super) const CONSENT_GRANT: Page = Page {
    name: "gateway consent grant",
    summary: "Lets lf gateway serve --tailscale listen on this machine's addresses of 100.64.0.0/10.",
    synopsis: "tailscale [--notes TEXT] [--yes]",
    examples: &[
        (
            "lf gateway consent grant tailscale",
            "says what that covers, and asks",
        ),
        (
            "lf gateway consent grant tailscale --yes --notes 'for the tablet'",
            "does not ask; for scripts",
        ),
    ],
    flags: &[
        (
            "--notes TEXT",
            "what to remember of it, at most 200 characters",
        ),
        ("--yes", "do not ask"),
    ],
    notes: "It covers the interfaces that are up now, by name, address and prefix, and takes the place of an older\nconsent. Linux only.",
};

pub(super) const CONSENT_REVOKE: Page = Page {
    name: "gateway consent revoke",
    summary: "Takes the consent back; a gateway that listens by it answers nothing more, and ends.",
    synopsis: "[tailscale]",
    examples: &[("lf gateway consent revoke", "does not ask")],
    flags: &[],
    notes: "Also the way out when the file that records it is damaged.",
};

const BIND: (&str, &str) = (
    "--bind ADDR",
    "the address that the gateway listens on; 127.0.0.1 otherwise",
);
const PORT: (&str, &str) = ("--port N", "its port; 38080 otherwise");
