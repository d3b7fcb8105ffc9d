# `just` alone lists the recipes. Without just: each is one command, below.

[private]
default:
    @just --list --unsorted

# All that must hold before a change lands
check:
    .ci/run

# Unit tests, cases, and the promises against real Apache Kafka
test *args:
    cargo test --locked {{ args }}

# Forebay, a mock Kafka and simulated vendors in one process, for half a minute
demo *args="--for 30s":
    cargo run --release --locked -- demo {{ args }}

# A million events through real Apache Kafka, with SIGKILL halfway
real *args:
    cargo run --release --locked --example real -- {{ args }}

# What an event costs
bench *args:
    cargo bench --locked {{ args }}

# Format the sources
fmt:
    cargo fmt

# Lint and render the chart
helm:
    deploy/helm/check

# Licences, bans, sources, advisories (needs cargo-deny)
deny:
    cargo deny check
