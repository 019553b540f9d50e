//! What no safe wrapper of the system's calls offers: the one room with `unsafe`.
#![allow(unsafe_code)]

pub mod memory;
