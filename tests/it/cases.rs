//! `tests/cases`: event and settings to requests, answers to verdicts.
