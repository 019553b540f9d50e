//! What knows nothing of keys: secrets as a type, time, randomness, a token bucket, locks, a thread pool, text.

pub(crate) mod bucket;
pub(crate) mod distinct;
pub(crate) mod json;
pub(crate) mod lock;
pub(crate) mod paste;
pub(crate) mod pool;
pub(crate) mod rng;
pub(crate) mod secret;
pub(crate) mod shell;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod width;

pub(crate) use self::secret::{Secret, printable, shown};
pub(crate) use self::time::{Deadline, Timestamp};
