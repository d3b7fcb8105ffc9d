//! The HTTP client: connections, TLS, deadlines. Knows no vendor and no tenant.
