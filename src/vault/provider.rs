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
        Some(known) => known.variable.to_owned(),
        None => provider.to_ascii_uppercase().replace('-', "_") + "_API_KEY",
    }
}

// Prefixes that several providers share, such as a bare "sk-", are left out.
#[rustfmt::skip]
/// All of them.
pub(crate) const KNOWN: &[Known] = &[
    Known { names: &["openai"], variable: "OPENAI_API_KEY", other_variables: &["OPENAI_KEY"], prefixes: &["sk-proj-", "sk-svcacct-", "sk-admin-"] },
    Known { names: &["anthropic", "claude"], variable: "ANTHROPIC_API_KEY", other_variables: &["CLAUDE_API_KEY"], prefixes: &["sk-ant-"] },
    Known { names: &["gemini", "google"], variable: "GEMINI_API_KEY", other_variables: &["GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"], prefixes: &["AIza"] },
    Known { names: &["mistral"], variable: "MISTRAL_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["groq"], variable: "GROQ_API_KEY", other_variables: &[], prefixes: &["gsk_"] },
    Known { names: &["xai", "grok"], variable: "XAI_API_KEY", other_variables: &["GROK_API_KEY"], prefixes: &["xai-"] },
    Known { names: &["openrouter"], variable: "OPENROUTER_API_KEY", other_variables: &[], prefixes: &["sk-or-"] },
    Known { names: &["cohere"], variable: "COHERE_API_KEY", other_variables: &["CO_API_KEY"], prefixes: &[] },
    Known { names: &["deepseek"], variable: "DEEPSEEK_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["together", "togetherai", "together-ai"], variable: "TOGETHER_API_KEY", other_variables: &["TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"], prefixes: &["tgp_v1_"] },
    Known { names: &["fireworks", "fireworks-ai"], variable: "FIREWORKS_API_KEY", other_variables: &["FIREWORKS_AI_API_KEY"], prefixes: &["fw_"] },
    Known { names: &["perplexity"], variable: "PERPLEXITY_API_KEY", other_variables: &["PPLX_API_KEY"], prefixes: &["pplx-"] },
    Known { names: &["huggingface", "hugging-face", "hf"], variable: "HF_TOKEN", other_variables: &["HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"], prefixes: &["hf_"] },
    Known { names: &["elevenlabs"], variable: "ELEVENLABS_API_KEY", other_variables: &["ELEVEN_API_KEY"], prefixes: &[] },
    Known { names: &["stability", "stabilityai", "stability-ai"], variable: "STABILITY_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["replicate"], variable: "REPLICATE_API_TOKEN", other_variables: &["REPLICATE_API_KEY"], prefixes: &["r8_"] },
    Known { names: &["fal", "fal-ai"], variable: "FAL_KEY", other_variables: &["FAL_API_KEY"], prefixes: &[] },
    Known { names: &["ollama", "ollama-cloud"], variable: "OLLAMA_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["cerebras"], variable: "CEREBRAS_API_KEY", other_variables: &[], prefixes: &["csk-"] },
    Known { names: &["nvidia"], variable: "NVIDIA_API_KEY", other_variables: &[], prefixes: &["nvapi-"] },
    Known { names: &["moonshot", "kimi"], variable: "MOONSHOT_API_KEY", other_variables: &["KIMI_API_KEY"], prefixes: &[] },
    Known { names: &["zai", "zhipu"], variable: "ZAI_API_KEY", other_variables: &["ZHIPU_API_KEY", "ZHIPUAI_API_KEY"], prefixes: &[] },
    Known { names: &["dashscope", "qwen", "alibaba"], variable: "DASHSCOPE_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["minimax"], variable: "MINIMAX_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["sambanova"], variable: "SAMBANOVA_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["ai21"], variable: "AI21_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["voyage", "voyageai"], variable: "VOYAGE_API_KEY", other_variables: &["VOYAGEAI_API_KEY"], prefixes: &[] },
    Known { names: &["jina"], variable: "JINA_API_KEY", other_variables: &[], prefixes: &["jina_"] },
    Known { names: &["tavily"], variable: "TAVILY_API_KEY", other_variables: &[], prefixes: &["tvly-"] },
    Known { names: &["deepgram"], variable: "DEEPGRAM_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["assemblyai"], variable: "ASSEMBLYAI_API_KEY", other_variables: &[], prefixes: &[] },
    Known { names: &["runway", "runwayml"], variable: "RUNWAYML_API_SECRET", other_variables: &[], prefixes: &[] },
    Known { names: &["github"], variable: "GITHUB_TOKEN", other_variables: &["GH_TOKEN"], prefixes: &["ghp_", "github_pat_"] },
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
