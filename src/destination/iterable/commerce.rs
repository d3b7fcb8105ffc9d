//! Track events of the Segment spec's e-commerce part that the vendor has calls of their own for.
//!
//! | event, in any case | becomes |
//! | --- | --- |
//! | `Order Completed` | `commerce/trackPurchase`: items, total, and the other properties as data fields |
//! | `Cart Updated` | `commerce/updateCart`: `products` replace the cart |
//! | with `cart = "rudder"`: `Product Added` | the same; without `products` the properties are the cart's one item |
//! | with `cart = "rudder"`: `Product Removed` | the same where it has `products`; else an ordinary event: what was removed is no cart |
//!
//! The user of either is a whole user, traits included, as in `users/update`. An item has an id, a name, a price and a
//! quantity, of the vendor's types, or the call is refused here; fields that the vendor has no place for are the item's
//! data fields.

use std::borrow::Cow;

use super::encode::{Encoder, Properties, id_and_time};
use super::identity::{email, email_of_traits};
use crate::event::Event;
use crate::json::{self, Raw, copy, write};
use crate::outcome::{Reason, Refusal};
use crate::text::trim;

/// What becomes of an event of commerce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commerce {
    Purchase,
    Cart,
}

/// Where an item's id stands, the first that is there.
const IDS: [&str; 4] = ["product_id", "productId", "id", "sku"];
/// An item's texts that need not be there, and where they stand.
const TEXTS: [(&str, &[&str]); 4] =
    [("sku", &["sku"]), ("description", &["description"]), ("imageUrl", &["image_url", "imageUrl"]), ("url", &["url"])];

/// Whether the track event goes to an endpoint of its own.
pub(super) fn of(event: &Event<'_>, rudder_cart: bool) -> Option<Commerce> {
    let name = trim(event.event.as_deref()?);
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    if is("Order Completed") {
        return Some(Commerce::Purchase);
    }
    let removed = || is("Product Removed") && products(event).is_some();
    let is_cart = is("Cart Updated") || (rudder_cart && (is("Product Added") || removed()));
    is_cart.then_some(Commerce::Cart)
}

impl Encoder {
    /// A purchase.
    pub(super) fn purchase(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut properties = Properties::of_purchase(event)?;
        let email = properties.email.take().or_else(|| email_of_traits(event));
        out.push(b'{');
        self.buyer(event, email, out)?;
        self.items(event, false, out)?;
        let total = event.properties.and_then(|properties| number(properties.field("total")?));
        let total = total.ok_or_else(|| invalid("`properties.total` is not a number"))?;
        write::key(out, "total");
        out.extend_from_slice(total.as_bytes());
        id_and_time(event, out);
        write::key(out, "dataFields");
        out.push(b'{');
        let start = out.len();
        let fields = event.properties.into_iter().flat_map(|properties| copy::of(properties, self.style.flatten));
        for field in fields.filter(|field| !field.is("products")) {
            copy::field(out, field.key(), field.value, self.style);
        }
        copy::last_of_each(out, start, self.style);
        out.push(b'}');
        properties.write_ids(out);
        out.push(b'}');
        Ok(())
    }

    /// The cart.
    pub(super) fn cart(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        out.push(b'{');
        self.buyer(event, buyers_email(event), out)?;
        self.items(event, is_item(event), out)?;
        out.push(b'}');
        Ok(())
    }

    /// Whose it is.
    fn buyer<'a>(&self, event: &Event<'a>, email: Option<Cow<'a, str>>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let ids = self.ids(event, email.clone())?;
        write::key(out, "user");
        self.user_object(event, &ids, email, self.create_new_fields, out)
    }

    /// The products; if there are none and `alone` says so, the properties are the one.
    fn items(&self, event: &Event<'_>, alone: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        write::key(out, "items");
        out.push(b'[');
        match (products(event), event.properties) {
            (Some(products), _) => {
                for product in products.items() {
                    write::comma(out);
                    self.item(product, out)?;
                }
            }
            (None, Some(properties)) if alone => self.item(properties, out)?,
            (None, _) => return Err(invalid("`properties.products` is not a list")),
        }
        out.push(b']');
        Ok(())
    }

    fn item(&self, product: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = IDS.iter().find_map(|name| Some((*name, product.field(name)?.id()?)));
        let (id_name, id) = id.ok_or_else(|| invalid("a product has no `product_id`"))?;
        let name = text(product, &["name"]).ok_or_else(|| invalid("a product has no `name`"))?;
        let price = product.field("price").and_then(number);
        let price = price.ok_or_else(|| invalid("the `price` of a product is not a number"))?;
        let quantity = product.field("quantity").and_then(whole);
        let quantity = quantity.ok_or_else(|| invalid("the `quantity` of a product is not a whole number"))?;
        out.push(b'{');
        write::key(out, "id");
        write::string(out, &id);
        write::key(out, "name");
        write::string(out, &name);
        write::key(out, "price");
        out.extend_from_slice(price.as_bytes());
        write::key(out, "quantity");
        write::integer(out, quantity);
        for (field, names) in TEXTS {
            if let Some(text) = text(product, names) {
                write::key(out, field);
                write::string(out, &text);
            }
        }
        categories(product, out);
        self.rest(product, id_name, out);
        out.push(b'}');
        Ok(())
    }

    /// What the vendor has no place for.
    fn rest(&self, product: Raw<'_>, id_name: &str, out: &mut Vec<u8>) {
        let mut open = None;
        // Each name once: a look at all other fields for each of many that are alike would take for ever.
        for field in copy::of(product, true) {
            let name = field.name();
            let is_container = field.value.is_object() || field.value.is_array();
            let is_text = || TEXTS.iter().any(|(_, names)| names.contains(&&*name));
            let placed = match &*name {
                "name" | "price" | "quantity" | "categories" | "category" => true,
                other => other == id_name || (!is_container && is_text()),
            };
            if placed {
                continue;
            }
            if open.is_none() {
                write::key(out, "dataFields");
                out.push(b'{');
                open = Some(out.len());
            }
            copy::field(out, field.key(), field.value, self.style);
        }
        if let Some(start) = open {
            copy::last_of_each(out, start, self.style);
            out.push(b'}');
        }
    }
}

/// Whether the properties of a cart's event are its one item.
fn is_item(event: &Event<'_>) -> bool {
    let added = event.event.as_deref().is_some_and(|name| name.trim().eq_ignore_ascii_case("Product Added"));
    added && products(event).is_none()
}

/// The address of whose the cart is. Where the properties are the item, what stands there is the item's.
pub(super) fn buyers_email<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    if is_item(event) { email_of_traits(event) } else { email(event) }
}

fn products<'a>(event: &Event<'a>) -> Option<Raw<'a>> {
    event.properties?.field("products").filter(|products| products.is_array())
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidField, detail)
}

/// The first text that is there and not empty.
fn text<'a>(product: Raw<'a>, names: &[&str]) -> Option<Cow<'a, str>> {
    names.iter().find_map(|name| product.field(name)?.scalar().filter(|text| !text.trim().is_empty()))
}

/// The list of a product's categories; one alone is a list too.
fn categories(product: Raw<'_>, out: &mut Vec<u8>) {
    let filled = |name| product.field(name).filter(|value| !value.is_null());
    let Some(given) = filled("categories").or_else(|| filled("category")) else { return };
    let one = given.scalar().filter(|text| !text.is_empty());
    let texts: Vec<_> = one.into_iter().chain(given.items().filter_map(Raw::scalar)).collect();
    if texts.is_empty() {
        return;
    }
    write::key(out, "categories");
    out.push(b'[');
    for text in texts {
        write::comma(out);
        write::string(out, &text);
    }
    out.push(b']');
}

/// A number, or the one that a text holds, as JSON writes it.
fn number(value: Raw<'_>) -> Option<Cow<'_, str>> {
    if value.is_number() {
        return Some(Cow::Borrowed(value.get()));
    }
    let text = value.string()?;
    json::number(&text).map(|number| Cow::Owned(number.to_owned()))
}

/// A whole number, also where it is written `2.0` or as text.
fn whole(value: Raw<'_>) -> Option<i64> {
    /// Above this not every whole number is an `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let text = number(value)?;
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let float = text.parse::<f64>().ok().filter(|float| float.fract() == 0.0 && float.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and in the range where each is exact")]
    Some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::{Encoder, number, whole};
    use crate::config::{self, Vendor};
    use crate::destination::UserHash;
    use crate::json::Tape;

    fn encoder() -> Encoder {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.toml");
        let text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n[accounts.acme]\n\
                    iterable = { region = \"eu\", keys = [{ file = \"k\" }] }\n";
        std::fs::write(&file, text).expect("a file");
        let config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;
        let Vendor::Iterable(settings) = &config.accounts[0].vendor else { panic!("not Iterable") };
        Encoder::new(&config.accounts[0], settings, &UserHash::new(1))
    }

    /// A look at all of them for each would take minutes.
    #[test]
    fn of_fields_that_are_alike_the_last_one_counts_however_many_there_are() {
        const TWINS: usize = 100_000;
        let encoder = encoder();
        for (last, expected) in [
            ("{\"n\":1}", ",\"dataFields\":{\"sku\":{\"n\":1}}}"),
            ("[1]", ",\"dataFields\":{\"sku\":[1]}}"),
            ("\"S\"", ",\"sku\":\"S\"}"),
            ("null", "}"),
        ] {
            let twins = "\"sku\":{},".repeat(TWINS);
            let product = format!("{{\"id\":\"a\",\"name\":\"A\",\"price\":1,\"quantity\":1,{twins}\"sku\":{last}}}");
            let mut out = Vec::new();
            encoder.item(Tape::parse(&product).expect("an object").value(), &mut out).expect("an item");
            let item = format!("{{\"id\":\"a\",\"name\":\"A\",\"price\":1,\"quantity\":1{expected}");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), item);
        }
    }

    #[test]
    fn numbers() {
        for (text, expected) in [("1.50", Some("1.50")), ("\" 1.5 \"", Some("1.5")), ("\"1,5\"", None), ("true", None)]
        {
            assert_eq!(number(Tape::trusted(text).value()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers() {
        for (text, expected) in [("2", 2), ("\"2\"", 2), ("2.0", 2), ("2e1", 20), ("-1", -1)] {
            assert_eq!(whole(Tape::trusted(text).value()), Some(expected), "{text}");
        }
        for text in ["2.7", "1e300", "\"\"", "\"x\"", "null", "[2]"] {
            assert_eq!(whole(Tape::trusted(text).value()), None, "{text}");
        }
    }
}
