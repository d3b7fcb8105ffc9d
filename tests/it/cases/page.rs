//! `docs/mapping.md`: for each type of event what goes out, made from the cases. Run with `FOREBAY_WRITE_DOCS=1` to write it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::{VENDORS, cases};

/// The headings, in their order. A case belongs to the one that its `page` names.
const HEADINGS: &[&str] = &[
    "identify",
    "push tokens",
    "track",
    "Order Completed",
    "Cart Updated",
    "Product Added",
    "business events and alerts",
    "page",
    "screen",
    "alias",
    "group",
    "raw elements",
];

/// Cases that show a semantic event, and what their spec is called.
const SPECS: [(&str, &str); 3] = [("spec-ecommerce", "E-commerce"), ("spec-mobile", "Mobile"), ("spec-video", "Video")];

const INTRODUCTION: &str = "# What goes out for each type of event

Made from the cases in `tests/cases`, which the tests hold the encoders to. Elements are shown as they stand in a request
with others; `forebay explain` shows a whole request. What an event can be refused or skipped for is in
[outcomes.md](outcomes.md).
";

#[test]
fn the_page_of_mappings_is_what_the_cases_say() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mapping.md");
    if std::env::var_os("FOREBAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/mapping.md is old: run this test with FOREBAY_WRITE_DOCS=1");
}

fn page() -> String {
    let all: Vec<(&str, Vec<(String, Value)>)> = VENDORS.iter().map(|vendor| (*vendor, cases(vendor))).collect();
    let mut page = INTRODUCTION.to_owned();
    for heading in HEADINGS {
        let _ = writeln!(page, "\n## {heading}");
        let shown = all.iter().flat_map(|(vendor, cases)| cases.iter().map(move |(_, case)| (vendor, case)));
        let shown: Vec<_> = shown.filter(|(_, case)| case["page"] == *heading).collect();
        assert!(!shown.is_empty(), "no case is shown under {heading}");
        let mut before = None;
        for (vendor, case) in shown {
            if before != Some(&case["event"]) {
                let _ = write!(page, "\n```json\n{:#}\n```\n", case["event"]);
                before = Some(&case["event"]);
            }
            write_case(&mut page, vendor, case);
        }
    }
    write_specs(&mut page, &all);
    page
}

fn write_case(page: &mut String, vendor: &str, case: &Value) {
    let name = case["name"].as_str().unwrap_or_default();
    let settings = case["settings"].as_object().filter(|settings| !settings.is_empty());
    let with = settings.map(|settings| format!(", with `{}`", Value::from(settings.clone()))).unwrap_or_default();
    let _ = write!(page, "\n**{vendor}**: {name}{with}\n");
    let calls = case["expect"]["calls"].as_array();
    if calls.is_none() {
        let _ = write!(page, "\n`{}`\n", case["expect"]);
    }
    for call in calls.into_iter().flatten() {
        let element = call.get("element").unwrap_or(&call["elements"]);
        let _ = write!(page, "\n`{}`\n\n```json\n{element:#}\n```\n", call["shape"].as_str().unwrap_or_default());
    }
}

/// A table for each spec: the shape that each event goes out in.
fn write_specs(page: &mut String, all: &[(&str, Vec<(String, Value)>)]) {
    page.push_str("\n## Semantic events\n\nEvents of Segment's specs, and the shapes in which they go out.\n");
    for (spec, title) in SPECS {
        let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (_, cases) in all {
            for (_, case) in cases.iter().filter(|(name, _)| name.starts_with(spec)) {
                let calls = case["expect"]["calls"].as_array().into_iter().flatten();
                let shapes: Vec<String> =
                    calls.filter_map(|call| Some(format!("`{}`", call["shape"].as_str()?))).collect();
                rows.entry(case["event"]["event"].as_str().unwrap_or_default()).or_default().push(shapes.join(", "));
            }
        }
        let _ = write!(
            page,
            "\n### {title}\n\n| event | {} |\n|{}\n",
            VENDORS.join(" | "),
            " --- |".repeat(VENDORS.len() + 1)
        );
        for (event, shapes) in rows {
            let _ = writeln!(page, "| {event} | {} |", shapes.join(" | "));
        }
    }
}
