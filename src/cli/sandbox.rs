//! `forebay sandbox`: both vendors, simulated, on one listener.
