//! LF Cloud Keys: the schema that gives them out, and the way home. The cloud is PostgREST over a
//! PostgreSQL database; `schema.sql` makes one, and any that has the same two functions does.

#[cfg(unix)]
pub(crate) mod key;
#[cfg(unix)]
mod post;
#[cfg(unix)]
pub(crate) mod server;

/// What `lf cloud schema` prints.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");
