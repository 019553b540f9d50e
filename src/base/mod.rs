//! What knows nothing of keys: secrets as a type, time, randomness, a token bucket, a thread pool, text.

pub mod bucket;
pub mod pool;
pub mod rng;
pub mod secret;
pub mod shell;
pub mod text;
pub mod time;
pub mod width;
