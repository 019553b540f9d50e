//! The help pages of `lf gateway`.

use crate::cli::help::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "gateway",
        summary: "A way to the keys for paired browsers, over HTTP on this machine.",
        synopsis: "COMMAND [--help]",
        examples: &[
            (
                "lf gateway serve --keys-only",
                "serves on 127.0.0.1:38080 until Ctrl-C",
            ),
            (
                "lf gateway pair --web",
                "prints the token that the browser needs",
            ),
        ],
        flags: &[],
        notes: "",
    },
    Page {
        name: "gateway serve",
        summary: "Serves the keys to paired browsers, until Ctrl-C or SIGTERM.",
        synopsis: "[--keys-only] [--bind ADDR] [--port N] [--tailscale]",
        examples: &[
            (
                "lf gateway serve --keys-only",
                "for a browser on this machine",
            ),
            (
                "lf gateway serve --keys-only --bind 100.88.58.68",
                "for one on another, over Tailscale",
            ),
        ],
        flags: &[
            (
                "--keys-only",
                "local keys alone: no identity, session, lenser or kill switch is needed",
            ),
            (
                "--bind ADDR",
                "the address to listen on; 127.0.0.1 otherwise",
            ),
            ("--port N", "the port; 38080 otherwise, 0 for a free one"),
            (
                "--tailscale",
                "full mode over Tailscale: --bind takes an address that a consent covers",
            ),
        ],
        notes: "Over Tailscale without --keys-only: lf gateway consent grant tailscale.\nAlso from LF_GATEWAY_BIND, LF_GATEWAY_PORT, LF_GATEWAY_KEYS_ONLY=1\nand LF_GATEWAY_TAILSCALE=1.\nLF_GATEWAY_EXTRA_ORIGINS: more origins, regular expressions separated by commas.\nLF_GATEWAY_EXTRA_HOSTS: more names of this machine, but not on loopback.\nOn Linux it gives up every file but its own, and says so; what lies beside a passphrase file stays readable.",
    },
    Page {
        name: "gateway status",
        summary: "Is a gateway running? Its address, version, clock and pairings; exit code 4 if none is, 5 if it waits for a consent.",
        synopsis: "[--bind ADDR] [--port N] [--json]",
        examples: &[
            ("lf gateway status", "asks on 127.0.0.1:38080"),
            ("lf gateway status --port 38081", "asks another one"),
        ],
        flags: &[BIND, PORT, ("--json", "for programs")],
        notes: "Exit code 4 also if something else listens there, which it says.",
    },
    Page {
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
        notes: "Nothing is changed. What full mode alone needs is a note, and no failure, until there is an identity in <root>/gateway/identity.json. That no gateway runs is a note too.",
    },
    Page {
        name: "gateway pair",
        summary: "Makes a bearer token for a browser; the same name again replaces its token.",
        synopsis: "[--web] [--name NAME] [--expires SPAN] [--rotate] [--json]",
        examples: &[
            ("lf gateway pair --web", "the token, and what to do with it"),
            (
                "lf gateway pair --name tablet --expires 90d",
                "one more browser, for three months",
            ),
        ],
        flags: &[
            ("--web", "for the web app; what it does anyway"),
            ("--name NAME", "the pairing's name; web-pair otherwise"),
            (
                "--expires SPAN",
                "how long the token is good, such as 90d or 12h; for ever otherwise",
            ),
            ("--rotate", "revoke all other pairings"),
            ("--json", "print {name, token, createdAt, expiresAt}"),
        ],
        notes: "A running gateway knows the new token, and no longer the old one, at the next request.",
    },
    Page {
        name: "gateway pairings",
        summary: "Shows who is paired: created, expires, last used, name; never a token.",
        synopsis: "[--json]",
        examples: &[("lf gateway pairings", "a table")],
        flags: &[("--json", "for programs")],
        notes: "",
    },
    Page {
        name: "gateway unpair",
        summary: "Revokes a pairing; its token is dead at the next request.",
        synopsis: "NAME | --all",
        examples: &[
            ("lf gateway unpair tablet", "one"),
            ("lf gateway unpair --all", "every one"),
        ],
        flags: &[("--all", "every pairing")],
        notes: "--all is also the way out when the file that says who is paired is damaged.",
    },
    Page {
        name: "gateway install",
        summary: "Makes the gateway a service of yours, confined and restarted by systemd or launchd.",
        synopsis: "[--print] [--socket] [--credential FILE] [FLAGS of gateway serve]",
        examples: &[
            (
                "lf gateway install --keys-only",
                "serves on 127.0.0.1:38080 from now on, at every login; again, it is updated",
            ),
            (
                "lf gateway install --keys-only --socket",
                "nothing runs until the first connection, and after ten idle minutes",
            ),
            (
                "lf gateway install --keys-only --print",
                "shows the unit, and changes nothing",
            ),
        ],
        flags: &[
            ("--print", "only print what would be written"),
            (
                "--socket",
                "systemd listens, and starts the gateway at the first connection",
            ),
            (
                "--credential FILE",
                "the passphrase, as an encrypted credential of systemd's (256 or later)",
            ),
            ("--keys-only", "as for lf gateway serve, and so the rest"),
            ("--bind ADDR", "the address to listen on"),
            ("--port N", "the port"),
            ("--tailscale", "full mode over Tailscale"),
        ],
        notes: "The variables LENSERFIGHT_RUNTIME_DIR, LENSERFIGHT_KEYS_DIR,\nLENSERFIGHT_KEYS_PASSPHRASE_FILE and LF_GATEWAY_EXTRA_* go into the unit\nas they are now, and so does the path that lf was called by, with its links\nas they are; the passphrase itself never does.\nOn a machine without a keychain, from boot on:\n  systemd-ask-password -n | systemd-creds encrypt --user \\\n    --name=lenserfight-keys-passphrase - FILE\n  lf gateway install --keys-only --credential FILE && loginctl enable-linger",
    },
    Page {
        name: "gateway uninstall",
        summary: "Stops the service and removes it; keys and pairings stay.",
        synopsis: "",
        examples: &[("lf gateway uninstall", "and says when it has ended")],
        flags: &[],
        notes: "",
    },
    Page {
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
    },
    Page {
        name: "gateway consent show",
        summary: "Shows what was consented to, by whom and when, and whether that is still there.",
        synopsis: "[--json]",
        examples: &[("lf gateway consent show", "one line for each interface")],
        flags: &[("--json", "print {consent, holds, live}")],
        notes: "A consent counts as none when no live interface has a name, address and prefix of it.",
    },
    Page {
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
        notes: "It covers the interfaces that are up now, by name, address and prefix, and takes the place of an older consent. Linux only.",
    },
    Page {
        name: "gateway consent revoke",
        summary: "Takes the consent back; a gateway that listens by it answers nothing more, and ends.",
        synopsis: "[tailscale]",
        examples: &[("lf gateway consent revoke", "does not ask")],
        flags: &[],
        notes: "Also the way out when the file that records it is damaged.",
    },
];

const BIND: (&str, &str) = (
    "--bind ADDR",
    "the address that the gateway listens on; 127.0.0.1 otherwise",
);
const PORT: (&str, &str) = ("--port N", "its port; 38080 otherwise");
