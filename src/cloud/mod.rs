//! LF Cloud Keys: the schema that gives them out, and the way home. The cloud is PostgREST over a
//! PostgreSQL database; `schema.sql` makes one, and any that has the same two functions does.

pub(crate) mod key;
mod post;
pub(crate) mod server;

/// What `lf cloud schema` prints.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");
