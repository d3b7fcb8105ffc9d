//! Iterable's API as used.
