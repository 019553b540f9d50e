//! The audit log: a line that is an event is JSON to serde_json, too.
#![no_main]

mod json;

use local_keys::fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for line in fuzz::audit(bytes).into_iter().flatten() {
        let Some(event) = json::strict(line) else { continue };
        assert!(event["ts"].is_string() && event["kind"].is_string() && event["ok"].is_boolean());
    }
});
