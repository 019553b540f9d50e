//! The agent of macOS's launchd, as text (`launchd.plist(5)`).

use super::{MARK, Service, signed};

/// What launchd calls it.
pub const LABEL: &str = "com.lenserfight.lf-gateway";

/// The property list; what the gateway says goes to this log.
#[must_use]
pub fn agent(service: &Service, log: &str) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- {MARK} -->\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n"
    );
    entry(&mut text, "Label", LABEL);
    text.push_str("<key>ProgramArguments</key>\n<array>\n");
    let program = std::iter::once(service.program.clone());
    for argument in program.chain(service.arguments()) {
        text.push_str(&format!("<string>{}</string>\n", escaped(&argument)));
    }
    text.push_str("</array>\n<key>EnvironmentVariables</key>\n<dict>\n");
    for (name, value) in &service.variables {
        entry(&mut text, name, value);
    }
    text.push_str("</dict>\n");
    text.push_str(RUNNING);
    entry(&mut text, "StandardErrorPath", log);
    text.push_str("</dict>\n</plist>\n");
    signed(&text)
}

fn entry(text: &mut String, name: &str, value: &str) {
    let value = escaped(value);
    text.push_str(&format!("<key>{name}</key>\n<string>{value}</string>\n"));
}

/// XML 1.0 has no way to write most control characters at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_ascii_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// 63 is 0077.
const RUNNING: &str = "\
<key>RunAtLoad</key>
<true/>
<key>KeepAlive</key>
<dict>
<key>SuccessfulExit</key>
<false/>
</dict>
<key>ThrottleInterval</key>
<integer>30</integer>
<key>ProcessType</key>
<string>Background</string>
<key>Umask</key>
<integer>63</integer>
<key>HardResourceLimits</key>
<dict>
<key>Core</key>
<integer>0</integer>
</dict>
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::service::{Maker, Mode, Start, Walls, maker};

    #[test]
    fn text_in_the_property_list_is_never_markup() {
        let service = Service {
            program: "/Users/a&b/<lf>".into(),
            address: "127.0.0.1:38080".parse().unwrap(),
            mode: Mode::KeysOnly,
            start: Start::AtLogin,
            variables: vec![("LENSERFIGHT_KEYS_DIR", "/k</string>\u{7}".into())],
            writable: Vec::new(),
            credential: None,
            walls: Walls::NoNamespaces,
        };
        let text = agent(&service, "/Users/a&b/Library/Logs/lf-gateway.log");
        for expected in [
            "<string>/Users/a&amp;b/&lt;lf&gt;</string>\n<string>gateway</string>\n<string>serve</string>\n<string>--keys-only</string>\n",
            "<key>LENSERFIGHT_KEYS_DIR</key>\n<string>/k&lt;/string&gt;\u{FFFD}</string>\n",
            "<key>StandardErrorPath</key>\n<string>/Users/a&amp;b/Library/Logs/lf-gateway.log</string>\n",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
        for tag in ["dict", "array", "string", "key", "integer", "plist"] {
            let (open, end) = (format!("<{tag}"), format!("</{tag}>"));
            assert_eq!(
                text.matches(&open).count(),
                text.matches(&end).count(),
                "{tag}"
            );
        }
        assert_eq!(maker(&text), Maker::Lf);
    }
}
