//! Schemas: what the framework writes of them, in the words that validators and generators understand best.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Objects that have one of their members and no other.
const ONE_OF: [&str; 1] = ["QrContent"];

/// Tidies every schema of the document.
pub(super) fn tidy(document: &mut Value) {
    walk(document, &mut tidy_one);
    let taken = reachable(document, "requestBody");
    let sent = reachable(document, "responses");
    let types = document["components"]["schemas"].clone();
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        let Some(schema) = schema.as_object_mut() else { continue };
        // Generators take the name of the component.
        if schema.get("title").is_some_and(|title| title == name) {
            schema.remove("title");
        }
        if let Some(example) = schema.get_mut("example") {
            drop_nulls(example);
        }
        if ONE_OF.contains(&name.as_str()) {
            schema.insert("minProperties".into(), 1.into());
            schema.insert("maxProperties".into(), 1.into());
        }
        if taken.contains(name) {
            let required = required(schema);
            for (_, property) in properties(schema).filter(|(name, _)| !required.contains(*name)) {
                allow_null(property, &types);
            }
        } else if sent.contains(name) {
            // What may be null is always there.
            let mut required = required(schema);
            let nullable = properties(schema).filter(|(_, property)| property["nullable"] == true);
            required.extend(nullable.map(|(name, _)| name.to_owned()));
            if !required.is_empty() {
                schema.insert("required".into(), required.into_iter().collect());
            }
        }
    }
}

fn tidy_one(schema: &mut Map<String, Value>) {
    for bound in ["minimum", "maximum"] {
        if let Some(value) = schema.get(bound).and_then(Value::as_f64).filter(|value| value.fract() == 0.0) {
            schema.insert(bound.into(), json!(value as i64));
        }
    }
    // No format of OpenAPI's.
    if schema.get("format").is_some_and(|format| format == "uint16") {
        schema.insert("format".into(), "int32".into());
    }
    // A description beside a reference, which the framework says twice.
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.retain(|part| part.get("$ref").is_some() || part.as_object().is_none_or(|part| part.len() > 1));
    }
}

/// In what we take, null says the same as leaving a member out.
fn allow_null(property: &mut Value, schemas: &Value) {
    // Nothing may stand beside a reference, and `nullable` must stand beside a type.
    if property.get("$ref").is_some() {
        *property = json!({"allOf": [property.take()]});
    }
    if let Some(target) = property["allOf"][0]["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        property["type"] = schemas[target]["type"].clone();
    }
    property["nullable"] = true.into();
}

/// Calls `change` for every object inside `value`, the inner ones first.
fn walk(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(|inner| walk(inner, change));
            change(object);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

/// A member that is not given is left out of an example, not null.
fn drop_nulls(example: &mut Value) {
    walk(example, &mut |object| object.retain(|_, value| !value.is_null()));
}

fn required(schema: &Map<String, Value>) -> BTreeSet<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn properties(schema: &mut Map<String, Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
}

/// The schemas that the part called `part` of any operation leads to.
fn reachable(document: &Value, part: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let items = document["paths"].as_object().into_iter().flatten();
    let operations = items.filter_map(|(_, item)| item.as_object()).flat_map(Map::values);
    let mut open: Vec<&Value> = operations.map(|operation| &operation[part]).collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(object) => {
                let target = object.get("$ref").and_then(Value::as_str).and_then(|target| target.rsplit('/').next());
                if let Some(name) = target.filter(|name| names.insert((*name).to_owned())) {
                    open.push(&document["components"]["schemas"][name]);
                }
                open.extend(object.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    names
}
