//! When a token is good, by a clock that is set at will.

use std::fs as files;

use super::*;
use crate::keychain::Patience;

#[test]
fn a_clock_that_jumps_ends_a_pairing_and_gives_it_back() {
    let root = std::env::temp_dir().join(format!("lf-test-pairing-{}", std::process::id()));
    let environment = Environment::of(|_| None);
    let keychain = Keychain::new(&environment, Patience::SHORT);
    let pairings = Pairings::at(root.clone(), &environment, keychain);
    let now = Timestamp::parse("2026-11-28T00:00:00.000Z").unwrap();
    let wanted =
        Pairing { expires_at: Some(now.after(TERM)), ..Pairing::new(Label::parse("web").unwrap()) };
    let mut token = String::new();
    let printed = |it: &Secret, _: Option<&Pairing>| {
        it.expose().clone_into(&mut token);
        Ok(())
    };
    pairings.pair(wanted, Others::Keep, now, printed).unwrap().unwrap();
    let recogniser = Recogniser::new(pairings);
    let is_good = |at| recogniser.recognise(&token, at).unwrap().is_some();
    let (second, year) = (Duration::from_secs(1), TERM * 4);
    for (at, good) in [
        (now, true),
        (now.before(year), true),
        (now.after(TERM).before(second), true),
        (now.after(TERM), false),
        (now.after(year * 9), false),
        // What was over is good again when the clock is set right.
        (now.after(second), true),
        (now.after(Duration::MAX), false),
        (now.before(Duration::MAX), true),
    ] {
        assert_eq!(is_good(at), good, "{at}");
    }
    files::remove_dir_all(root).unwrap();
}
