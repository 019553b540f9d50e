//! What people copy along with a key, and what no key has in it. `paste.txt` has a regular expression for
//! each: one with a group for what stands around a key, one without for what is odd anywhere.

use std::sync::LazyLock;

use regex_lite::Regex;

use crate::base::secret::is_hidden;

/// The key in what was copied, and what stands around it there.
pub(crate) fn bare(text: &str) -> (&str, Vec<&'static str>) {
    let (mut key, mut around) = (text, Vec::new());
    loop {
        let free = key.trim_matches(|c: char| c.is_whitespace() || is_hidden(c));
        let layers = TABLE.iter().map(|(what, layer)| Some((layer.captures(key)?.get(1)?, *what)));
        let (inner, what) = match layers.flatten().next() {
            _ if free.len() < key.len() => (free, "spaces"),
            Some((inner, what)) => (inner.as_str(), what),
            None => return (key, around),
        };
        key = inner;
        if !around.contains(&what) {
            around.push(what);
        }
    }
}

/// What a value has that keys do not have, never a piece of it. A document is no key, and what is hardly
/// ASCII was not meant to be.
pub(crate) fn oddities(value: &str) -> Vec<String> {
    let (all, ascii) = (value.chars().count(), value.chars().filter(char::is_ascii).count());
    if value.starts_with('{') || value.starts_with("-----BEGIN ") || ascii * 2 < all {
        return Vec::new();
    }
    let around = bare(value).1.into_iter().map(|what| format!("surrounding {what}"));
    let inside = TABLE.iter().filter(|(_, odd)| odd.captures_len() == 1).find_map(|(what, odd)| {
        let before = value[..odd.find(value)?.start()].chars().count();
        Some(format!("{what} at character {}", before + 1))
    });
    around.chain(inside).collect()
}

static TABLE: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let rows = include_str!("paste.txt").lines().filter_map(|line| line.split_once(" :: "));
    rows.filter_map(|(what, regex)| Some((what, Regex::new(regex).ok()?))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_around_a_key_goes_and_what_is_in_it_stays() {
        for (pasted, key, around) in [
            (" sk-a \t", "sk-a", "spaces"),
            ("\u{feff}sk-a\u{200b}\u{a0}", "sk-a", "spaces"),
            ("sk-a\u{ad}\u{2060}", "sk-a", "spaces"),
            ("\"sk-a\"", "sk-a", "quotes"),
            (" ' sk-a ' ", "sk-a", "spaces, quotes"),
            ("\u{201c}sk-a\u{201d}", "sk-a", "quotes"),
            ("«sk-a»", "sk-a", "quotes"),
            ("\"\"sk-a\"\"", "sk-a", "quotes"),
            ("export OPENAI_API_KEY=sk-a", "sk-a", "name"),
            ("  export MINE = 'sk-a';", "sk-a", "spaces, name, quotes"),
            ("set GROQ_API_KEY=gsk_a", "gsk_a", "name"),
            ("$env:OPENAI_API_KEY = \"sk-a\"", "sk-a", "name, quotes"),
            ("OPENAI_API_KEY=\"sk-a\"", "sk-a", "name, quotes"),
            ("OPENAI_API_KEY=sk-a", "sk-a", "name"),
            ("\"OPENAI_API_KEY=sk-a\"", "sk-a", "quotes, name"),
            ("api_key: sk-a", "sk-a", "name"),
            ("x-api-key: sk-a", "sk-a", "name"),
            ("\"apiKey\": \"sk-a\",", "sk-a", "name, quotes"),
            ("'apiKey':'sk-a',", "sk-a", "name, quotes"),
            ("Bearer sk-a", "sk-a", "Bearer"),
            ("authorization: bearer  sk-a", "sk-a", "name, Bearer"),
            (
                "-H \"Authorization: Bearer sk-a\" \\",
                "sk-a",
                "flag, quotes, name, Bearer, backslash",
            ),
            ("--header 'x-api-key: sk-a'", "sk-a", "flag, quotes, name"),
            ("-H x-api-key: sk-a", "sk-a", "flag, name"),
            ("\" \"", "", "quotes, spaces"),
            ("OPENAI_API_KEY=", "", "name"),
            ("export MINE =", "", "name"),
            ("$env:A_KEY=\"\"", "", "name, quotes"),
            ("Bearer ", "", "spaces, Bearer"),
            ("Authorization: Bearer", "", "name, Bearer"),
            ("x-api-key:", "", "name"),
        ] {
            let (bare, mut what) = bare(pasted);
            let mut expected: Vec<&str> = around.split(", ").collect();
            what.sort_unstable();
            expected.sort_unstable();
            assert_eq!((bare, what), (key, expected), "{pasted:?}");
        }
        for key in [
            "",
            "\"",
            "\"sk-a'",
            "sk a\"b",
            "sk-a==",
            "AKEY==",
            "KEY=",
            "a_key=",
            "123456:ABC-def",
            "apikey:abc",
            "user=me",
            "Endpoint=sb://a/;SharedAccessKeyName=b;SharedAccessKey=c=",
            "SharedAccessKeyName=b;SharedAccessKey=c=",
            "https://a/b?api_key=c",
            "set fire to the rain",
            "bearers",
            "curl -H \"Authorization: Bearer sk-a\" https://a",
        ] {
            assert_eq!(bare(key), (key, Vec::new()), "{key:?}");
        }
    }

    #[test]
    fn what_is_odd_is_named_with_its_place_and_without_the_value() {
        for (value, odd) in [
            ("sk-0123", ""),
            ("sk-\u{430}bc", "a Cyrillic letter at character 4"),
            ("sk-\u{3bf}bc", "a Greek letter at character 4"),
            ("sk-\u{ff41}bc", "a full-width character at character 4"),
            ("sk-a\u{e9}", "a character that is not ASCII at character 5"),
            ("sk-a\u{200b}", "surrounding spaces, an invisible character at character 5"),
            ("sk-\u{ad}a", "an invisible character at character 4"),
            ("sk-a\u{a0}b", "a no-break space at character 5"),
            ("sk-a\u{2028}b", "a line break at character 5"),
            ("sk a\nb", "a line break at character 5"),
            ("sk\u{2013}a", "a dash that is not a hyphen at character 3"),
            ("sk\u{201d}abc", "a curly quote at character 3"),
            ("sk a", "a space at character 3"),
            ("sk\u{1b}a", "a control character at character 3"),
            ("\"sk-a\"", "surrounding quotes"),
            ("Bearer sk-a", "surrounding Bearer, a space at character 7"),
            ("\u{65e5}\u{672c}\u{8a9e} a", ""),
            ("{\n  \"type\": \"service_account\"\n}", ""),
            ("-----BEGIN PRIVATE KEY-----\nabc\n", ""),
            ("", ""),
        ] {
            assert_eq!(oddities(value).join(", "), odd, "{value:?}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        assert_eq!(TABLE.len(), include_str!("paste.txt").lines().count());
    }
}
