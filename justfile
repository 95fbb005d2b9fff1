# What one does often. `just` lists it.

default:
    @just --list --unsorted

# The unit tests, formatting and imports: no container, under a minute once built.
test-fast:
    cargo fmt --all --check
    .ci/imports
    cargo test --locked --lib

# One area of the promises, on the wire: just test reload
test area:
    .ci/setup cargo test --locked --test promises -- {{area}}::

# An area on other versions of Redis and on Valkey, which are fetched: just versions count
versions area:
    .ci/servers target/servers cargo test --locked --test promises -- {{area}}::

# All that CI does.
test-full:
    .ci/run

# Format, lints and documentation.
lint:
    cargo fmt --all
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

# Write config/headcount.toml from the list of keys.
config:
    cargo run --quiet -- man headcount.toml > target/headcount.toml
    mv target/headcount.toml config/headcount.toml

# Nodes and the store on virtual time, from so many seeds: just simulate 1000
simulate seeds from="0":
    SIMULATE_SEEDS={{seeds}} SIMULATE_FROM={{from}} \
        cargo test --locked --package headcount-simulation --profile simulation no_seed -- --nocapture

# How many seeds each planted bug takes to be found, up to so many: just planted 3000
planted seeds:
    SIMULATE_SEEDS={{seeds}} \
        cargo test --locked --package headcount-simulation --profile simulation every_planted -- --ignored --nocapture

# Every order of the first so many actions of three nodes, as a model: just model 13
model depth="8":
    MODEL_DEPTH={{depth}} cargo test --locked --package headcount-model --profile simulation -- --nocapture

# Licences, sources and bans of the dependencies.
deny:
    cargo deny check bans licenses sources

# Serve the page.
run:
    cargo run --release
