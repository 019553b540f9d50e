//! The gateway's own page and the client that any web app can take: files that are compiled in, and
//! what a browser is told to make of them.

use super::http::Reply;
use crate::vault::provider::KNOWN;

/// One file of the page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

impl File {
    /// The file at this path.
    pub(crate) fn at(path: &str) -> Option<&'static File> {
        FILES.iter().find(|file| file.path == path)
    }

    /// The file, without CORS headers.
    pub(crate) fn reply(&self) -> Reply {
        let names: String = KNOWN.iter().map(|it| format!("<option>{}", it.name)).collect();
        let text = self.text.replace("{providers}", &names);
        let text = text.replace("{version}", env!("CARGO_PKG_VERSION"));
        Reply::text(&format!("text/{}; charset=utf-8", self.media_type), &text)
            .with("Content-Security-Policy", POLICY)
            .with("Referrer-Policy", "no-referrer")
            .with("Cross-Origin-Opener-Policy", "same-origin")
    }
}

static FILES: [File; 4] = [
    File { path: "/", media_type: "html", text: include_str!("web/index.html") },
    File { path: "/page.js", media_type: "javascript", text: include_str!("web/page.js") },
    File { path: "/style.css", media_type: "css", text: include_str!("web/style.css") },
    File { path: "/client.js", media_type: "javascript", text: include_str!("web/client.js") },
];

/// What the page may do (CSP level 3): run and show its own files, and ask its own gateway and a local
/// Ollama; its icon is a data URL. No script may make markup of a string, whatever a label says.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self' http://localhost:11434 http://127.0.0.1:11434; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_stay_below_36_kib() {
        let size: usize = FILES.iter().map(|file| file.reply().body.len()).sum();
        assert!(size < 36 * 1024, "{size} bytes");
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let html = File::at("/").map_or("", |file| file.text);
        assert!(
            File::at("/").unwrap().reply().body.contains("<option>google<option>mistral<option>")
        );
        for inline in ["<script>", "<style", "style=", "javascript:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        // What a handler of an event looks like: onclick=.
        let is_handler = |word: &&str| word.starts_with("on") && word.contains('=');
        assert_eq!(html.split_ascii_whitespace().find(is_handler), None);
        for file in &FILES {
            for remote in ["//cdn", "https://", "@import", "url("] {
                let found = file.text.match_indices(remote).find(|(at, _)| {
                    // The addresses that comments and namespaces name are not fetched.
                    !file.text[*at..].starts_with("https://lenserfight.com")
                });
                assert!(found.is_none(), "{} has {found:?}", file.path);
            }
        }
    }
}
