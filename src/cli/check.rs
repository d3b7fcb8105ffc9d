//! `forebay check`: reads the configuration as `run` would, and names every mistake.
