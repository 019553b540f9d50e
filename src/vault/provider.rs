//! A table of providers: the environment variables that their programs read, and the prefixes of their
//! keys.

/// One provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its names, the usual one first.
    pub(crate) names: &'static [&'static str],
    /// The variable that its own programs read.
    pub(crate) variable: &'static str,
    /// Other variables that hold such a key.
    pub(crate) other_variables: &'static [&'static str],
    /// The prefixes of its keys that no other provider uses.
    pub(crate) prefixes: &'static [&'static str],
}

/// The provider of that name.
pub(crate) fn by_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.names.contains(&name))
}

/// The provider whose programs read this variable.
pub(crate) fn by_variable(variable: &str) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| known.variable == variable || known.other_variables.contains(&variable))
}

/// The provider whose keys begin like this one. The longest prefix wins.
pub(crate) fn by_key(key: &str) -> Option<&'static Known> {
    let longest = |known: &'static Known| {
        let fits = |prefix: &&&str| key.starts_with(**prefix);
        known
            .prefixes
            .iter()
            .filter(fits)
            .map(|prefix| prefix.len())
            .max()
    };
    let fits = KNOWN
        .iter()
        .filter_map(|known| Some((longest(known)?, known)));
    fits.max_by_key(|(length, _)| *length)
        .map(|(_, known)| known)
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
        Some(known) => known.variable.to_owned(),
        None => provider.to_ascii_uppercase().replace('-', "_") + "_API_KEY",
    }
}

const fn known(
    names: &'static [&'static str],
    variable: &'static str,
    other_variables: &'static [&'static str],
    prefixes: &'static [&'static str],
) -> Known {
    Known {
        names,
        variable,
        other_variables,
        prefixes,
    }
}

// Prefixes that several providers share, such as a bare "sk-", are left out.
#[rustfmt::skip]
/// All of them.
pub(crate) const KNOWN: &[Known] = &[
    known(&["openai"], "OPENAI_API_KEY", &["OPENAI_KEY"], &["sk-proj-", "sk-svcacct-", "sk-admin-"]),
    known(&["anthropic", "claude"], "ANTHROPIC_API_KEY", &["CLAUDE_API_KEY"], &["sk-ant-"]),
    known(&["gemini", "google"], "GEMINI_API_KEY", &["GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"], &["AIza"]),
    known(&["mistral"], "MISTRAL_API_KEY", &[], &[]),
    known(&["groq"], "GROQ_API_KEY", &[], &["gsk_"]),
    known(&["xai", "grok"], "XAI_API_KEY", &["GROK_API_KEY"], &["xai-"]),
    known(&["openrouter"], "OPENROUTER_API_KEY", &[], &["sk-or-"]),
    known(&["cohere"], "COHERE_API_KEY", &["CO_API_KEY"], &[]),
    known(&["deepseek"], "DEEPSEEK_API_KEY", &[], &[]),
    known(&["together", "togetherai", "together-ai"], "TOGETHER_API_KEY", &["TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"], &["tgp_v1_"]),
    known(&["fireworks", "fireworks-ai"], "FIREWORKS_API_KEY", &["FIREWORKS_AI_API_KEY"], &["fw_"]),
    known(&["perplexity"], "PERPLEXITY_API_KEY", &["PPLX_API_KEY"], &["pplx-"]),
    known(&["huggingface", "hugging-face", "hf"], "HF_TOKEN", &["HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"], &["hf_"]),
    known(&["elevenlabs"], "ELEVENLABS_API_KEY", &["ELEVEN_API_KEY"], &[]),
    known(&["stability", "stabilityai", "stability-ai"], "STABILITY_API_KEY", &[], &[]),
    known(&["replicate"], "REPLICATE_API_TOKEN", &["REPLICATE_API_KEY"], &["r8_"]),
    known(&["fal", "fal-ai"], "FAL_KEY", &["FAL_API_KEY"], &[]),
    known(&["ollama", "ollama-cloud"], "OLLAMA_API_KEY", &[], &[]),
    known(&["cerebras"], "CEREBRAS_API_KEY", &[], &["csk-"]),
    known(&["nvidia"], "NVIDIA_API_KEY", &[], &["nvapi-"]),
    known(&["moonshot", "kimi"], "MOONSHOT_API_KEY", &["KIMI_API_KEY"], &[]),
    known(&["zai", "zhipu"], "ZAI_API_KEY", &["ZHIPU_API_KEY", "ZHIPUAI_API_KEY"], &[]),
    known(&["dashscope", "qwen", "alibaba"], "DASHSCOPE_API_KEY", &[], &[]),
    known(&["minimax"], "MINIMAX_API_KEY", &[], &[]),
    known(&["sambanova"], "SAMBANOVA_API_KEY", &[], &[]),
    known(&["ai21"], "AI21_API_KEY", &[], &[]),
    known(&["voyage", "voyageai"], "VOYAGE_API_KEY", &["VOYAGEAI_API_KEY"], &[]),
    known(&["jina"], "JINA_API_KEY", &[], &["jina_"]),
    known(&["tavily"], "TAVILY_API_KEY", &[], &["tvly-"]),
    known(&["deepgram"], "DEEPGRAM_API_KEY", &[], &[]),
    known(&["assemblyai"], "ASSEMBLYAI_API_KEY", &[], &[]),
    known(&["runway", "runwayml"], "RUNWAYML_API_SECRET", &[], &[]),
    known(&["github"], "GITHUB_TOKEN", &["GH_TOKEN"], &["ghp_", "github_pat_"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::looks_like_secret;
    use std::collections::HashSet;

    #[test]
    fn every_name_variable_and_prefix_means_one_provider() {
        let mut seen = HashSet::new();
        for known in KNOWN {
            let words = known.names.iter().chain(known.other_variables);
            for word in words.chain(known.prefixes).chain([&known.variable]) {
                assert!(seen.insert(*word), "{word} is there twice");
            }
            assert_eq!(by_name(known.names[0]), Some(known));
            assert_eq!(by_variable(known.variable), Some(known));
            for prefix in known.prefixes {
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
