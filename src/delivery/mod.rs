//! Out: requests to the vendors.

pub mod http;
