//! `lf`: keeps the API keys you pay for encrypted, and hands them to programs and browsers you choose.

use std::alloc::System;
use std::process::ExitCode;

use local_keys::memory::{Paged, Wiping};

#[global_allocator]
static MEMORY: Wiping<Paged<System>> = Wiping(Paged(System));

fn main() -> ExitCode {
    local_keys::main()
}
