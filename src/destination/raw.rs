//! Raw elements: a record that is already what the vendor wants, named by the header `forebay-shape`.
//!
//! What all vendors' raw shapes share: fields of a type that would fail everybody else's batch are refused, and the
//! catalogue that the header `forebay-catalog` names becomes one segment of a path.

use std::sync::Arc;

use super::percent_encoded;
use crate::event::RawForm;
use crate::json::Raw;
use crate::outcome::{Reason, Refusal};

/// What a field of an element must be, where it is there; null is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Whole,
    /// A whole number above zero.
    Id,
    Flag,
    Object,
    List,
}

impl Type {
    fn fits(self, value: Raw<'_>) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Whole => value.get().parse::<i64>().is_ok(),
            Self::Id => value.get().parse::<i64>().is_ok_and(|id| id > 0),
            Self::Flag => matches!(value.get(), "true" | "false"),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Id => "a whole number above 0",
            Self::Flag => "true or false",
            Self::Object => "an object",
            Self::List => "a list",
        }
    }
}

/// Refuses an element of which a field has another type, or stands there twice: nobody knows which of them would count.
pub(super) fn check_types(element: Raw<'_>, types: &[(&str, Type)]) -> Result<(), Refusal> {
    let mut seen = 0_u64;
    for field in element.fields() {
        let name = field.name();
        let Some((bit, (name, wanted))) = (0..64).zip(types).find(|(_, (known, _))| *known == name) else { continue };
        if seen & (1 << bit) != 0 {
            return Err(invalid(format!("`{name}` stands twice in the raw element")));
        }
        seen |= 1 << bit;
        if !field.value.is_null() && !wanted.fits(field.value) {
            return Err(invalid(format!("`{name}` of the raw element is not {}", wanted.words())));
        }
    }
    Ok(())
}

/// A refusal of a raw element.
pub(super) fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::InvalidField, detail)
}

/// The catalogue that the record names, as a segment of a path.
pub(super) fn catalog(form: &RawForm<'_>) -> Result<Arc<str>, Refusal> {
    let named = form.catalog.filter(|name| !name.is_empty() && !matches!(*name, "." | ".."));
    let refusal = || Refusal::new(Reason::NoCatalog, "the header forebay-catalog names no catalogue");
    Ok(percent_encoded(named.ok_or_else(refusal)?).into())
}
