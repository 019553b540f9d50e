//! Types that are text in JSON, and members that are.

use miniserde::json::{Object, Value};

/// Makes a type text in JSON: how it is printed and how it is read.
macro_rules! text_in_json {
    ($kind:ty, $print:expr, $parse:expr) => {
        impl miniserde::Serialize for $kind {
            fn begin(&self) -> miniserde::ser::Fragment<'_> {
                miniserde::ser::Fragment::Str($print(self).into())
            }
        }

        miniserde::make_place!(Place);

        impl miniserde::de::Visitor for Place<$kind> {
            fn string(&mut self, text: &str) -> miniserde::Result<()> {
                self.out = Some($parse(text).ok_or(miniserde::Error)?);
                Ok(())
            }
        }

        impl miniserde::Deserialize for $kind {
            fn begin(out: &mut Option<$kind>) -> &mut dyn miniserde::de::Visitor {
                Place::new(out)
            }
        }
    };
}

pub(crate) use text_in_json;

/// A member of an object, if it is text.
pub(crate) fn text_of<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
