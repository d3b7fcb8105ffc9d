//! MoEngage's Data API as used.
