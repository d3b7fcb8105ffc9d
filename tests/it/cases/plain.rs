//! The plainest mapping of pages, screens, groups, orders and carts, as [`reference`](super::reference) is of the rest,
//! against the encoders on any JSON.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::arbitrary::{Json, object, string};
use super::properties::{rounds, same};
use super::reference::{self, Expected, dated, is_expected, number, put, put_all, text};

/// What groups and products have fields of, and what is written beside them.
const NAMES: &[&str] = &[
    "name",
    "email",
    "campaignId",
    "templateId",
    "moe_x",
    "moe_project_name",
    "moe_unsubscribe",
    "status",
    "user_id",
    "total",
    "phone",
    "phoneNumber",
    "address",
    "avatar",
    "description",
    "website",
    "createdAt",
    "plan",
    "groupName",
    "group_name",
    "group_id",
    "groupId",
    "id",
    "_id",
    "userId",
    "age",
    "gender",
    "sku",
    "url",
    "image_url",
    "imageUrl",
    "categories",
    "category",
    "productId",
    "items",
    "user",
    "dataFields",
];

/// Each trait that a person has too, and its name as a group's at Iterable.
const OF_A_PERSON: [(&str, &str); 9] = [
    ("address", "groupAddress"),
    ("avatar", "groupAvatar"),
    ("createdAt", "groupCreatedAt"),
    ("description", "groupDescription"),
    ("email", "groupEmail"),
    ("name", "groupName"),
    ("phone", "groupPhone"),
    ("phoneNumber", "groupPhoneNumber"),
    ("website", "groupWebsite"),
];

/// The object's text with these fields behind its own: of a name that occurs twice the last one counts.
fn with(object: &Json, more: &str) -> String {
    let text = object.text("");
    let comma = if text == "{}" { "" } else { "," };
    format!("{}{comma}{more}}}", &text[..text.len() - 1])
}

fn agree(vendor: &str, flatten: bool, text: &str, expected: &Expected) -> Result<(), TestCaseError> {
    let nested = if flatten { "flatten" } else { "keep" };
    let settings = json!({ "nested": nested, "iterable": { "cart": "rudder" } });
    let settings = if vendor == "iterable" { settings } else { json!({ "nested": nested }) };
    let found = reference::encoded(vendor, &settings, text);
    prop_assert!(is_expected(&found, expected, same), "{vendor}: {text}\nfound {found:?}\nnot   {expected:?}");
    Ok(())
}

proptest! {
    #![proptest_config(rounds(400))]

    #[test]
    fn any_page_and_screen(name in string(), object in object(NAMES), screen: bool, flatten: bool) {
        let (kind, what) = if screen { ("screen", "Screen") } else { ("page", "Page") };
        let text = format!(r#"{{"type":"{kind}","userId":"u-1","messageId":"m-1","name":{name},"properties":{}}}"#,
            with(&object, r#""name":null"#));
        let plain: Value = serde_json::from_str(&text).expect(&text);
        let name = plain["name"].as_str().unwrap_or_default().trim();
        let mut expected = reference::moengage(&plain, flatten);
        if let Ok(expected) = &mut expected {
            let action = if name.is_empty() { format!("Viewed {what}") } else { format!("Viewed {name} {what}") };
            expected["actions"][0]["action"] = json!(action);
        }
        agree("moengage", flatten, &text, &expected)?;
        let mut expected = reference::iterable(&plain, flatten, "hybrid");
        if let Ok(expected) = &mut expected {
            let event = if name.is_empty() { format!("Loaded a {what}") } else { format!("{name} {kind}") };
            expected["eventName"] = json!(event);
        }
        agree("iterable", flatten, &text, &expected)?;
    }

    #[test]
    fn any_group(object in object(NAMES), flatten: bool) {
        let text = format!(r#"{{"type":"group","userId":"u-1","messageId":"m-1","groupId":"g-1","traits":{}}}"#, object.text(""));
        let plain: Value = serde_json::from_str(&text).expect(&text);
        let traits = plain["traits"].as_object().expect("traits");
        agree("moengage", flatten, &text, &moengage_group(traits, flatten))?;
        agree("iterable", flatten, &text, &Ok(iterable_group(traits, flatten)))?;
    }

    #[test]
    fn any_order_and_cart(
        order in object(NAMES), product in object(NAMES), price in -1e6..1e6_f64, quantity in any::<i32>(), cart: bool, flatten: bool
    ) {
        let product = with(&product, &format!(r#""product_id":"p-1","name":"Shoe","price":{price},"quantity":"{quantity}""#));
        let order = with(&order, &format!(r#""total":"{price}","products":[{product},{product}]"#));
        let event = if cart { "Product Added" } else { "order completed" };
        let text = format!(r#"{{"type":"track","userId":"u-1","messageId":"m-1","event":"{event}","properties":{order}}}"#);
        let plain: Value = serde_json::from_str(&text).expect(&text);
        let properties = plain["properties"].as_object().expect("properties");
        let item = item(properties["products"][0].as_object().expect("a product"), flatten);
        let mut expected = json!({
            "user": { "userId": "u-1", "preferUserId": true, "mergeNestedObjects": true },
            "items": [item, item],
        });
        let mut reasons = Vec::new();
        if let Some(email) = reference::email_of(&plain) {
            if !reference::is_address(&email) {
                reasons.push("invalid_email");
            }
            expected["user"]["email"] = email;
        }
        let ids = reference::campaign_and_template(&plain);
        let small = |id: &Value| id.as_i64().is_some_and(|id| i32::try_from(id).is_ok());
        if !cart {
            if ids.as_ref().is_none_or(|ids| !ids.values().all(small)) {
                reasons.push("invalid_field");
            }
            expected.as_object_mut().expect("an element").extend(ids.unwrap_or_default());
            let mut fields = properties.clone();
            fields.remove("products");
            expected["total"] = number(&properties["total"]).expect("a number");
            expected["id"] = json!("m-1");
            expected["dataFields"] = dated(put_all(&fields, flatten).into());
        }
        agree("iterable", flatten, &text, &reference::unless(reasons, expected))?;
    }

    /// Names with dots and brackets, which flattened values come to as well, and names twice.
    #[test]
    fn what_is_flattened_to_one_name_counts_by_the_last(object in dotted()) {
        let text = object.text("");
        let fields: Map<String, Value> = flat(&object).into_iter().map(|(path, value)| (path[1..].to_owned(), value)).collect();
        let settings = json!({ "nested": "flatten", "iterable": { "dates": "keep" } });
        for (kind, field) in [("track", "properties"), ("identify", "traits"), ("group", "traits")] {
            let message = format!(r#"{{"type":"{kind}","userId":"u-1","messageId":"m-1","event":"E","groupId":"g","{field}":{text}}}"#);
            let found = reference::encoded_without_twins("iterable", &settings, &message);
            let mut expected = fields.clone();
            expected.extend((kind == "group").then(|| ("groupId".to_owned(), json!("g"))));
            let written = found.as_ref().map(|found| found["dataFields"].clone());
            let none = kind == "identify" && expected.is_empty();
            prop_assert!(written == Ok(if none { Value::Null } else { expected.into() }), "{message}\nfound {found:?}");
            let found = reference::encoded_without_twins("moengage", &json!({ "nested": "flatten" }), &message);
            let mut expected = fields.clone();
            expected.extend((kind == "group").then(|| ("group_id".to_owned(), json!("g"))));
            let written = found.as_ref().map(|found| {
                if kind == "track" { found["actions"][0]["attributes"].clone() } else { found["attributes"].clone() }
            });
            prop_assert!(written == Ok(expected.into()), "{message}\nfound {found:?}");
        }
    }
}

/// Objects whose names meet when they are flattened.
fn dotted() -> impl Strategy<Value = Json> {
    let name = || {
        prop::sample::select(vec!["a", "b", "a.b", "a[0]", "a.b.a", "b[0].a", "a\\u002eb"])
            .prop_map(|name| format!("\"{name}\""))
    };
    let atom = (0..9_u8).prop_map(|digit| Json::Atom(digit.to_string()));
    let value = atom.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::List),
            prop::collection::vec((name(), inner), 0..4).prop_map(Json::Object),
        ]
    });
    prop::collection::vec((name(), value), 0..6).prop_map(Json::Object)
}

/// The flattened fields in the order of the text: of an object's names that occur twice the last, and then one by one.
fn flat(value: &Json) -> Vec<(String, Value)> {
    let below = |(part, value): (String, &Json)| match value {
        Json::Atom(text) => vec![(part, serde_json::from_str(text).expect("a value"))],
        nested => match flat(nested) {
            empty if empty.is_empty() => vec![(part, serde_json::from_str(&nested.text("")).expect("an empty one"))],
            fields => fields.into_iter().map(|(path, value)| (format!("{part}{path}"), value)).collect(),
        },
    };
    match value {
        Json::Atom(_) => Vec::new(),
        Json::List(items) => {
            items.iter().enumerate().flat_map(|(index, item)| below((format!("[{index}]"), item))).collect()
        }
        Json::Object(fields) => {
            let named: Vec<(String, &Json)> =
                fields.iter().map(|(name, value)| (serde_json::from_str(name).expect("a name"), value)).collect();
            let last = |index: usize| named[index + 1..].iter().all(|(name, _)| *name != named[index].0);
            let kept = (0..named.len()).filter(|index| last(*index));
            kept.flat_map(|index| below((format!(".{}", named[index].0), named[index].1))).collect()
        }
    }
}

fn moengage_group(traits: &Map<String, Value>, flatten: bool) -> Expected {
    let mut attributes = Map::from_iter([("group_id".to_owned(), json!("g-1"))]);
    let of_a_person = |name: &str| {
        matches!(name, "address" | "avatar" | "description" | "website")
            || reference::STANDARD.iter().any(|(_, names, _)| names.contains(&name))
    };
    for (name, value) in traits {
        let prefixed = format!("group_{name}");
        match name.as_str() {
            "" | "id" | "_id" | "userId" | "group_id" => {}
            name if !of_a_person(name) => put(&mut attributes, name, value, flatten),
            _ if !traits.contains_key(&prefixed) => put(&mut attributes, &prefixed, value, flatten),
            _ => {}
        }
    }
    let attributes = attributes.into();
    let reasons = reference::unkept(&attributes, true);
    reference::unless(reasons, json!({ "type": "customer", "customer_id": "u-1", "attributes": attributes }))
}

fn iterable_group(traits: &Map<String, Value>, flatten: bool) -> Value {
    let mut fields = Map::from_iter([("groupId".to_owned(), json!("g-1"))]);
    for (name, value) in traits {
        let own = OF_A_PERSON.iter().find(|(of_a_person, _)| of_a_person == name).map(|(_, own)| *own);
        match (name.as_str(), own) {
            ("id" | "userId" | "groupId", _) => {}
            (name, None) => put(&mut fields, name, value, flatten),
            (_, Some(own)) if !traits.contains_key(own) => put(&mut fields, own, value, flatten),
            _ => {}
        }
    }
    let fields = dated(fields.into());
    json!({ "userId": "u-1", "dataFields": fields, "preferUserId": true, "mergeNestedObjects": true })
}

fn item(product: &Map<String, Value>, flatten: bool) -> Value {
    let mut item =
        json!({ "id": "p-1", "name": "Shoe", "price": product["price"], "quantity": number(&product["quantity"]) });
    let mut rest = product.clone();
    for (field, names) in [
        ("sku", &["sku"][..]),
        ("description", &["description"]),
        ("imageUrl", &["image_url", "imageUrl"]),
        ("url", &["url"]),
    ] {
        let filled = |name: &&str| {
            product.get(*name).and_then(text).filter(|text| !text.as_str().unwrap_or_default().trim().is_empty())
        };
        if let Some(text) = names.iter().find_map(filled) {
            item[field] = text;
        }
        rest.retain(|name, value| !names.contains(&name.as_str()) || value.is_object() || value.is_array());
    }
    for name in ["product_id", "name", "price", "quantity", "categories", "category"] {
        rest.remove(name);
    }
    let given = |name: &str| product.get(name).filter(|value| !value.is_null());
    let categories: Vec<Value> = match given("categories").or_else(|| given("category")) {
        Some(Value::Array(categories)) => categories.iter().filter_map(text).collect(),
        Some(category) => text(category).filter(|text| *text != "").into_iter().collect(),
        None => Vec::new(),
    };
    if !categories.is_empty() {
        item["categories"] = categories.into();
    }
    if !rest.is_empty() {
        item["dataFields"] = dated(put_all(&rest, flatten).into());
    }
    item
}
