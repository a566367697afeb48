//! The OpenAPI document.

use super::*;

#[test]
fn document_has_every_path_with_errors_and_a_key() {
    let document = serde_json::to_value(document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(20 <= paths.len(), "{}", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{at}"
            );
            if matches!(path.as_str(), "/v1/health" | "/v1/ready" | "/v1/openapi.json") {
                assert!(operation.get("security").is_none(), "{at}");
                continue;
            }
            assert_eq!(operation["security"][0]["key"], serde_json::json!([]), "{at}");
            for status in ["400", "401", "403", "413", "503"] {
                let error = &operation["responses"][status]["content"]["application/json"];
                assert_eq!(error["schema"]["$ref"], "#/components/schemas/ErrorBody", "{at}");
            }
        }
    }
}

#[test]
fn every_reference_of_the_document_resolves() {
    fn check(value: &serde_json::Value, schemas: &serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(serde_json::Value::as_str) {
                    let name = name.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas.get(name).is_some(), "{name}");
                }
                fields.values().for_each(|value| check(value, schemas));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| check(item, schemas)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    check(&document, &document["components"]["schemas"]);
}
