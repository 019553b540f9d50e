//! What the helper answers the gateway: the master passphrase, and the tokens of pairings. Every other
//! question is refused. (`what_the_gateway_does_not_need_is_refused`)

use std::path::PathBuf;
use std::sync::Arc;

use super::pairing::{self, Pairings};
use crate::base::{secret::Secret, time::Timestamp};
use crate::error::Error;
use crate::keychain::Keychain;
use crate::keychain::helper::{Answer, Helper};
use crate::system::environment::Sources;
use crate::vault::{master::record, master::rekey, master::rekey::For, master::source};

/// Answers from these sources and this keychain, for the store in `keys`.
pub(crate) fn answer(
    keys: PathBuf,
    sources: Sources,
    keychain: Keychain,
    pairings: Pairings,
) -> Arc<Answer> {
    let silent = keychain.without_dialogs();
    let may = move |service: &str, account: &str, pairings: &Pairings| {
        record::is_for_reading(service, account) || pairings.is_token(service, account)
    };
    Arc::new(move |question| match *question {
        ["given"] => Ok(source::from_environment(&sources)?.map(|(secret, _)| secret)),
        ["entry", service, account] if may(service, account, &pairings) => {
            keychain.find(service, account)
        }
        ["silently", service, account] if may(service, account, &pairings) => {
            silent.find(service, account)
        }
        ["absent"] => Ok(keychain.is_absent().then(|| Secret::new(String::new()))),
        [pairing::SETTLE] => pairings.settle(Timestamp::now()).map(|()| None),
        [SETTLE] => {
            rekey::master(&keys, &sources, &keychain, For::Sealing, &|_, _| {})?.1.map(|_| None)
        }
        _ => Err(Error::KeychainUnavailable("the gateway may not ask for that".to_owned())),
    })
}

/// Sources that the helper has: whatever it finds counts as the variable's.
pub(crate) fn sources(helper: &Arc<Helper>, force: bool) -> Sources {
    let helper = Arc::clone(helper);
    let variable = Arc::new(move || helper.ask(&["given"]));
    Sources { variable, file: None, command: None, credential: None, force }
}

/// What the gateway asks for before it encrypts.
pub(crate) const SETTLE: &str = "settle";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keychain::Patience;
    use crate::system::environment::Environment;

    #[test]
    fn what_the_gateway_does_not_need_is_refused() {
        let environment = Environment::of(|name| {
            (name == "LENSERFIGHT_KEYS_PASSPHRASE").then(|| "a passphrase".into())
        });
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let pairings = Pairings::at("/nowhere".into(), &environment, keychain.clone());
        let answer = answer("/nowhere".into(), environment.passphrase, keychain, pairings);
        let secret = answer(&["given"]).unwrap().unwrap();
        assert_eq!(secret.expose(), "a passphrase");
        assert!(answer(&["absent"]).unwrap().is_some());
        let told = |question: &[&str]| answer(question).unwrap_err().to_string();
        for account in ["master", "master.earlier", "master.previous"] {
            let asked = told(&["entry", "lenserfight-keys", account]);
            assert!(asked.contains("no session bus"), "{account}: {asked}");
        }
        for question in [
            &["entry", "lenserfight-keys", "rekey.abc"][..],
            &["entry", "lenserfight-gateway", "device:active"],
            &["silently", "login", "user"],
            &["entry", "lenserfight-keys"],
            &["store", "lenserfight-keys", "master", "x"],
            &["given", ""],
            &[""],
        ] {
            assert!(told(question).contains("may not ask"), "{question:?}");
        }
    }
}
