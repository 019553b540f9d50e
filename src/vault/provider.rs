//! A table of providers: the environment variables that their programs read, and the prefixes of their
//! keys. A prefix that several providers share, such as a bare "sk-", is left out.

use std::sync::LazyLock;

/// One provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its names, the usual one first.
    pub(crate) names: Words,
    /// The variables that hold such a key, first the one that its own programs read.
    pub(crate) variables: Words,
    /// The prefixes of its keys that no other provider uses.
    prefixes: Words,
}

type Words = Vec<&'static str>;

/// All of them, a line of the table each.
pub(crate) static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |line: &'static str| {
        let mut columns = line.split('|').map(|column| column.split_whitespace());
        let mut words = || columns.next().into_iter().flatten().collect();
        Known { names: words(), variables: words(), prefixes: words() }
    };
    include_str!("provider.txt").lines().map(known).collect()
});

/// The provider of that name.
pub(crate) fn by_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.names.contains(&name))
}

/// The provider whose programs read this variable.
pub(crate) fn by_variable(variable: &str) -> Option<&'static Known> {
    let has = |known: &&Known| known.variables.contains(&variable);
    KNOWN.iter().find(has)
}

/// The provider whose keys begin like this one. The longest prefix wins.
pub(crate) fn by_key(key: &str) -> Option<&'static Known> {
    let longest = |known: &&Known| {
        let fits = known.prefixes.iter().filter(|it| key.starts_with(**it));
        fits.map(|prefix| prefix.len()).max()
    };
    let known = KNOWN.iter().max_by_key(longest)?;
    longest(&known).and(Some(known))
}

/// The provider whose keys begin like this one, if it is not the named one. A name such as `openai-work`
/// names `openai`.
pub(crate) fn contradicts(name: &str, key: &str) -> Option<&'static Known> {
    let known = by_key(key)?;
    let mut words = name.split(['-', '_']).chain([name]);
    let is_meant = words.any(|word| by_name(word) == Some(known));
    (!is_meant).then_some(known)
}

/// The variable for a key of this provider: its own, else the name in capitals with `_API_KEY` behind.
pub(crate) fn variable(provider: &str) -> String {
    match by_name(provider) {
        Some(known) => known.variables[0].to_owned(),
        None => provider.to_ascii_uppercase().replace('-', "_") + "_API_KEY",
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
            let words = known.names.iter().chain(&known.variables);
            for word in words.chain(&known.prefixes) {
                assert!(seen.insert(*word), "{word} is there twice");
            }
            assert_eq!(by_name(known.names[0]), Some(known));
            assert_eq!(by_variable(known.variables[0]), Some(known));
            for prefix in &known.prefixes {
                let key = format!("{prefix}0123456789abcdef");
                assert_eq!(by_key(&key), Some(known));
                assert!(looks_like_secret(&key), "{prefix}");
            }
        }
    }

    #[test]
    fn a_key_contradicts_the_name_of_another_provider_and_no_alias() {
        let other = |name, key| contradicts(name, key).map(|known| known.names[0]);
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
        assert_eq!(variable("gemini"), "GEMINI_API_KEY");
        assert_eq!(variable("huggingface"), "HF_TOKEN");
        assert_eq!(variable("my-own_one"), "MY_OWN_ONE_API_KEY");
        assert_eq!(by_key("sk-0123456789"), None, "several issue such keys");
    }
}
