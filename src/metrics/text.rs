//! The text of a scrape, written straight from what is counted: a family's samples together, as the format wants them.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Names and values, in this order.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Families in the order of their catalogue, each with the samples written so far.
#[derive(Debug)]
pub(super) struct Text {
    catalogue: &'static [(Kind, &'static str, &'static str)],
    samples: Vec<String>,
}

impl Text {
    pub(super) fn new(catalogue: &'static [(Kind, &'static str, &'static str)]) -> Self {
        Self { catalogue, samples: vec![String::new(); catalogue.len()] }
    }

    pub(super) fn counter(&mut self, name: &'static str, labels: Labels<'_>, value: u64) {
        self.sample(name, labels, value);
    }

    pub(super) fn gauge(&mut self, name: &'static str, labels: Labels<'_>, value: u64) {
        self.sample(name, labels, value);
    }

    pub(super) fn float(&mut self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.sample(name, labels, value);
    }

    fn sample(&mut self, name: &'static str, labels: Labels<'_>, value: impl std::fmt::Display) {
        let place = self.catalogue.iter().position(|(_, known, _)| *known == name);
        debug_assert!(place.is_some(), "{name} is not in the catalogue");
        let Some(out) = place.and_then(|place| self.samples.get_mut(place)) else { return };
        out.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            out.push_str(label);
            out.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    other => out.push(other),
                }
            }
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        let _infallible = writeln!(out, " {value}");
    }

    /// All of it; a family without samples is left out.
    pub(super) fn finish(self) -> String {
        let mut out = String::with_capacity(self.samples.iter().map(|samples| samples.len() + 200).sum());
        for ((kind, name, help), samples) in self.catalogue.iter().zip(self.samples) {
            if samples.is_empty() {
                continue;
            }
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_together_and_label_values_are_escaped() {
        let mut text = Text::new(&[
            (Kind::Gauge, "a", "what a is"),
            (Kind::Counter, "b_total", "what b is"),
            (Kind::Gauge, "c", ""),
        ]);
        text.counter("b_total", &[("tenant", "x\"\\\n"), ("account", "y")], 7);
        text.float("a", &[], 0.25);
        text.counter("b_total", &[], 8);
        assert_eq!(
            text.finish(),
            "# HELP a what a is\n# TYPE a gauge\na 0.25\n\n# HELP b_total what b is\n# TYPE b_total counter\n\
             b_total{tenant=\"x\\\"\\\\\\n\",account=\"y\"} 7\nb_total 8\n\n"
        );
    }
}
