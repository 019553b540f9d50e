//! Describes the API as OpenAPI 3.1: the routes of the guard, each with its operation from openapi.json.

use miniserde::json::{self, Object, Value};

use super::guard::{ID, ROUTES};

/// The description. (tests/openapi.rs: `every_route_has_an_operation_and_no_operation_is_without_a_route`)
pub(crate) fn text() -> String {
    let template = include_str!("openapi.json").replace("{version}", env!("CARGO_PKG_VERSION"));
    let mut document: Object = json::from_str(&template).unwrap_or_default();
    let mut paths = Object::new();
    if let Some(Value::Object(mut operations)) = document.remove("operations") {
        for (name, _) in ROUTES {
            let (method, path) = name.split_once(' ').unwrap_or_default();
            let path = paths.entry(path.replace(ID, "{id}"));
            let methods = path.or_insert_with(|| Value::Object(Object::new()));
            if let (Value::Object(methods), Some(operation)) = (methods, operations.remove(name)) {
                methods.insert(method.to_ascii_lowercase(), operation);
            }
        }
    }
    document.insert("paths".to_owned(), Value::Object(paths));
    json::to_string(&document) + "\n"
}
