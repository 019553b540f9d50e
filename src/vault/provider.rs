//! A table of providers: the environment variables that their programs read, and the prefixes of their
//! keys. A prefix that several providers share, such as a bare "sk-", is left out.

use std::sync::LazyLock;

use miniserde::Serialize;

use super::key::Provider;
use crate::error::Result;

/// One provider.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// Other names, which are read and never written.
    pub(crate) aliases: Words,
    /// For people.
    pub(crate) what: String,
    /// The variables that its programs read.
    pub(crate) variables: Words,
    /// Other variables that hold such a key.
    others: Words,
    /// The prefixes of its keys that no other provider uses.
    pub(crate) prefixes: Words,
}

type Words = Vec<&'static str>;

/// All of them, a line of the table each.
pub(crate) static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |line: &'static str| {
        let mut columns = line.split('|').map(|column| column.split_whitespace().collect());
        let mut words = || -> Words { columns.next().unwrap_or_default() };
        let mut aliases = words();
        Known {
            name: aliases.remove(0),
            aliases,
            what: words().join(" "),
            variables: words(),
            others: words(),
            prefixes: words(),
        }
    };
    rows().map(known).collect()
});

/// The lines of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("provider.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

impl Known {
    /// Its name and its aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }
}

/// Checks a provider that somebody typed. An alias, in any case, stands for the name.
pub(crate) fn parse(typed: &str) -> Result<Provider> {
    let known = by_name(&typed.to_ascii_lowercase());
    Provider::parse(known.map_or(typed, |known| known.name))
}

/// Do two names mean one provider? Keys were stored under names that are aliases by now.
pub(crate) fn is_same(typed: &str, stored: &str) -> bool {
    typed == stored
        || by_name(&typed.to_ascii_lowercase()).is_some_and(|it| by_name(stored) == Some(it))
}

/// The provider of that name or alias.
pub(crate) fn by_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.names().any(|it| it == name))
}

/// The provider whose programs read this variable.
pub(crate) fn by_variable(variable: &str) -> Option<&'static Known> {
    let all = |known: &'static Known| known.variables.iter().chain(&known.others);
    KNOWN.iter().find(|known| all(known).any(|it| *it == variable))
}

/// The provider whose keys begin like this one. The longest prefix wins.
pub(crate) fn by_key(key: &str) -> Option<&'static Known> {
    let longest = |known: &&Known| {
        known.prefixes.iter().filter(|it| key.starts_with(**it)).map(|prefix| prefix.len()).max()
    };
    let known = KNOWN.iter().max_by_key(longest)?;
    longest(&known).and(Some(known))
}

/// The provider whose keys begin like this one, if it is not the named one. A name such as `openai-work`
/// names `openai`.
pub(crate) fn contradicts(name: &str, key: &str) -> Option<&'static Known> {
    let known = by_key(key)?;
    let is_meant = name.split(['-', '_']).chain([name]).any(|word| by_name(word) == Some(known));
    (!is_meant).then_some(known)
}

/// The variables for a key of this provider: its own, else the name in capitals with `_API_KEY` behind.
pub(crate) fn variables(provider: &str) -> Vec<String> {
    match by_name(provider) {
        Some(known) => known.variables.iter().copied().map(str::to_owned).collect(),
        None => vec![provider.to_ascii_uppercase().replace('-', "_") + "_API_KEY"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::looks_like_secret;
    use std::collections::HashSet;

    #[test]
    fn every_name_variable_and_prefix_means_one_provider() {
        let mut seen = HashSet::new();
        assert_eq!(KNOWN.len(), 33);
        for known in KNOWN.iter() {
            let words = known.names().chain(known.variables.iter().copied());
            let words = words.chain(known.others.iter().copied());
            for word in words.chain(known.prefixes.iter().copied()) {
                assert!(seen.insert(word), "{word} is there twice");
            }
            for name in known.names() {
                assert_eq!(by_name(name), Some(known));
                assert_eq!(parse(&name.to_ascii_uppercase()).unwrap().as_str(), known.name);
            }
            assert_eq!(by_variable(known.variables[0]), Some(known));
            for prefix in &known.prefixes {
                let key = format!("{prefix}0123456789abcdef");
                assert_eq!(by_key(&key), Some(known));
                assert!(looks_like_secret(&key), "{prefix}");
            }
        }
    }

    #[test]
    fn each_line_of_the_table_has_its_source_above_it() {
        let lines: Vec<&str> = include_str!("provider.txt").lines().collect();
        let mut known = (0..lines.len()).filter(|at| lines[*at].contains(" | ") && *at > 0);
        assert!(known.all(|at| lines[at - 1].starts_with("# https://")));
    }

    #[test]
    fn a_key_contradicts_the_name_of_another_provider_and_no_alias() {
        let other = |name, key| contradicts(name, key).map(|known| known.name);
        assert_eq!(other("openai", "sk-ant-api03-x"), Some("anthropic"));
        assert_eq!(other("mine", "sk-ant-api03-x"), Some("anthropic"));
        for (name, key) in [
            ("anthropic", "sk-ant-api03-x"),
            ("claude", "sk-ant-api03-x"),
            ("work_claude", "sk-ant-api03-x"),
            ("hugging-face", "hf_x"),
            ("openai", "sk-x"),
        ] {
            assert_eq!(other(name, key), None, "{name} {key}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_has_a_variable_all_the_same() {
        assert_eq!(variables("gemini"), ["GEMINI_API_KEY", "GOOGLE_API_KEY"]);
        assert_eq!(variables("huggingface"), ["HF_TOKEN"]);
        assert_eq!(variables("my-own_one"), ["MY_OWN_ONE_API_KEY"]);
        assert_eq!(by_key("sk-0123456789"), None, "several issue such keys");
    }
}
