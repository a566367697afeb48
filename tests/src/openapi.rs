//! Checks answers against an OpenAPI document: the part of JSON Schema that ours uses.

use serde_json::Value;

/// Checks the answer to a request against the document.
///
/// # Errors
/// The first difference.
pub fn check(
    document: &Value,
    method: &str,
    target: &str,
    status: u16,
    body: &Value,
) -> Result<(), String> {
    let path = target.split('?').next().unwrap_or_default();
    let Some(template) = template_of(document, path) else {
        return match status {
            404 => schema(document, &error(), body, "body"),
            _ => Err(format!("{status} for a path that is not in the document")),
        };
    };
    let operation = &document["paths"][template][method.to_lowercase()];
    if operation.is_null() {
        return match status {
            405 => schema(document, &error(), body, "body"),
            _ => Err(format!("{status} for a method that {template} has not")),
        };
    }
    let response = &operation["responses"][status.to_string()];
    if response.is_null() {
        return Err(format!("status {status} is not in the document"));
    }
    match response.get("content") {
        Some(content) => schema(document, &content["application/json"]["schema"], body, "body"),
        None if body.is_null() => Ok(()),
        None => Err(format!("a body with status {status}")),
    }
}

fn error() -> Value {
    serde_json::json!({"$ref": "#/components/schemas/ErrorBody"})
}

/// The path of the document that a path matches; one without parameters comes first.
pub fn template_of<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    let matches = |template: &&String| {
        let (wanted, given): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        let same = |(wanted, given): (&&str, &&str)| wanted == given || wanted.starts_with('{');
        wanted.len() == given.len() && wanted.iter().zip(&given).all(same)
    };
    let paths = document["paths"].as_object()?;
    let mut found: Vec<&String> = paths.keys().filter(matches).collect();
    found.sort_by_key(|template| template.matches('{').count());
    found.first().map(|template| template.as_str())
}

fn schema(document: &Value, schema_of: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema_of["$ref"].as_str() {
        let name = reference.trim_start_matches("#/components/schemas/");
        let target = &document["components"]["schemas"][name];
        return match target.is_null() {
            true => Err(format!("{at}: no schema {name}")),
            false => schema(document, target, value, at),
        };
    }
    if let Some(all) = schema_of["allOf"].as_array() {
        return all.iter().try_for_each(|part| schema(document, part, value, at));
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(forms) = schema_of[any].as_array() {
            let fits = |form: &&Value| schema(document, form, value, at).is_ok();
            return match forms.iter().filter(fits).count() {
                0 => Err(format!("{at}: {value} fits no form of {schema_of}")),
                _ => Ok(()),
            };
        }
    }
    if let Some(allowed) = schema_of["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at}: {value} is none of {allowed:?}"));
    }
    let kinds: Vec<&str> = match &schema_of["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Err(format!("{at}: {kind} instead of {kinds:?}"));
    }
    match value {
        Value::Array(items) => items.iter().enumerate().try_for_each(|(number, item)| {
            schema(document, &schema_of["items"], item, &format!("{at}[{number}]"))
        }),
        Value::Object(fields) => {
            let required = schema_of["required"].as_array().into_iter().flatten();
            for name in required.filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("{at}: {name} is missing"));
                }
            }
            let Some(properties) = schema_of["properties"].as_object() else { return Ok(()) };
            fields.iter().try_for_each(|(name, field)| match properties.get(name) {
                Some(property) => schema(document, property, field, &format!("{at}.{name}")),
                None => Err(format!("{at}: {name} is not in the document")),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answer_that_differs_from_the_document_is_found() {
        let size = json!({"type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer"}, "next": {"type": ["string", "null"]}
        }});
        let ok = json!({"200": {"content": {"application/json": {"schema": size}}}, "204": {}});
        let document = json!({"paths": {
            "/a/{b}": {"get": {"responses": ok}}, "/a/b": {"put": {"responses": ok}}
        }});
        let get = |status, body: Value| check(&document, "GET", "/a/x?y=z", status, &body);
        assert_eq!(get(200, json!({"n": 1, "next": null})), Ok(()));
        assert_eq!(get(204, Value::Null), Ok(()));
        for (status, body) in [
            (200, json!({"n": "1"})),
            (200, json!({})),
            (200, json!({"n": 1, "other": 2})),
            (200, json!({"n": 1, "next": 3})),
            (200, Value::Null),
            (204, json!({})),
            (201, json!({"n": 1})),
        ] {
            assert!(get(status, body.clone()).is_err(), "{status} {body}");
        }
        assert_eq!(template_of(&document, "/a/b"), Some("/a/b"));
        assert_eq!(template_of(&document, "/a/"), Some("/a/{b}"));
        assert_eq!(template_of(&document, "/a"), None);
    }
}
