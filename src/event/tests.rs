//! What records decode to, and what they are refused for.
