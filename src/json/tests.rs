//! The tools against `serde_json`.
