//! Describes the API as OpenAPI 3.1.

/// The description. (tests/openapi.rs: `a_gateway_does_what_its_description_says`)
pub(crate) fn text() -> String {
    include_str!("openapi.json").replace("{version}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use miniserde::json::{self, Object, Value};

    use super::*;
    use crate::gateway::guard::{ID, ROUTES};

    #[test]
    fn every_route_of_the_guard_has_an_operation_and_no_operation_is_without_a_route() {
        let described: Object = json::from_str(&text()).unwrap();
        let Some(Value::Object(paths)) = described.get("paths") else { panic!() };
        let mut found = BTreeSet::new();
        for (path, methods) in paths {
            let Value::Object(methods) = methods else { panic!("{path}") };
            let path = path.replace("{id}", ID);
            found.extend(methods.keys().map(|it| format!("{} {path}", it.to_uppercase())));
        }
        assert_eq!(found, ROUTES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
