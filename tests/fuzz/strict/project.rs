//! A project's `.lf` file; no other reader confirms it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    local_keys::fuzz::project(bytes);
});
