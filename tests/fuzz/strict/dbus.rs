//! A message of the session bus; no other reader confirms it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    local_keys::fuzz::dbus(bytes);
});
