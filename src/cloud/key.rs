//! A key in the cloud: what its list says, and its value.

use miniserde::{Deserialize, json};

use super::server::Server;
use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::vault::{Label, Provider, envelope, provider};

/// A row of `fn_get_my_api_keys`, which has more members.
#[derive(Debug, Deserialize)]
pub(crate) struct CloudKey {
    pub(crate) id: String,
    #[serde(rename = "provider_key")]
    pub(crate) provider: String,
    label: Option<String>,
    /// The last characters of its value.
    #[serde(rename = "key_suffix")]
    pub(crate) suffix: String,
}

/// The caller's active keys.
pub(crate) fn list(server: &Server) -> Result<Vec<CloudKey>> {
    server.call("fn_get_my_api_keys", "{}")
}

impl CloudKey {
    /// Its label there, or else its provider.
    pub(crate) fn name(&self) -> &str {
        self.label.as_deref().filter(|label| !label.is_empty()).unwrap_or(&self.provider)
    }

    /// Is it what somebody calls so: by its id, 4 or more of the id's first characters, or its label?
    pub(crate) fn fits(&self, word: &str) -> bool {
        let begins = word.len() >= 4 && self.id.starts_with(&word.to_ascii_lowercase());
        begins || self.name() == word
    }

    /// The provider and label that it gets here, cut to what those are here. A label ends with the beginning
    /// of the id where another of `keys` would be called the same.
    pub(crate) fn named(&self, keys: &[CloudKey]) -> Result<(Provider, Label)> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let provider = provider::parse(&self.provider.to_lowercase().replace(|c| !is_fit(c), "-"))?;
        let plain: String = self.name().chars().filter(|c| !c.is_control()).take(64).collect();
        let label = Label::parse(&plain).unwrap_or_else(|_| provider.as_label());
        let is_twin = |key: &&CloudKey| key.provider == self.provider && key.name() == self.name();
        let end = format!(" ({})", self.id.chars().take(8).collect::<String>());
        let has_twin = keys.iter().filter(is_twin).count() > 1;
        Ok((provider, if has_twin { label.with_end(&end) } else { label }))
    }

    /// Its value, which ends as the list says.
    pub(crate) fn value(&self, server: &Server) -> Result<Secret> {
        let arguments = format!("{{\"p_key_id\":{}}}", json::to_string(&self.id));
        let value = Secret::new(server.call("fn_get_my_key_secret", &arguments)?);
        if envelope::check_value(&value).is_ok() && value.expose().ends_with(&self.suffix) {
            return Ok(value);
        }
        Err(Error::CloudRefused(format!(
            "the cloud gave a key that does not end in {}, as its list says; add the key there again",
            self.suffix
        )))
    }
}
