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

# The core, simulated from seeds: just simulate --seeds 10000
simulate *args="--seeds 300":
    FOREBAY_SEEDS={{ replace_regex(args, "^--seeds[ =]", "") }} cargo test --locked --test it simulation::nothing_is_lost -- --nocapture

# Three brokers, three processes, everything fails: just chaos --seeds 10
chaos *args="--seeds 2":
    FOREBAY_CHAOS_SEEDS={{ replace_regex(args, "^--seeds[ =]", "") }} cargo test --locked --test it chaos::nothing_is_lost -- --nocapture

# 200,000 events, 503 for 5 s, one poison event, SIGKILL, restart: dead letters and duplicates
side-run:
    cargo test --release --locked --test it chaos::side_run -- --ignored --nocapture

# Forebay, a mock Kafka and simulated vendors in one process, for half a minute
demo *args="--for 30s":
    cargo run --release --locked -- demo {{ args }}

# A million events through real Apache Kafka, with SIGKILL halfway
real events="1000000":
    FOREBAY_REAL_EVENTS={{ events }} cargo test --release --locked --test it real:: -- --ignored --nocapture

# 200,000 messages of all types, good and bad: what the vendors accept is what `explain` says
mixed events="200000":
    FOREBAY_MIXED_EVENTS={{ events }} cargo test --locked --test it mixed:: -- --ignored --nocapture

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
