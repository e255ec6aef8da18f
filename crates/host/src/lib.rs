//! Runs a spin.toml on wasmtime where Spin is not installed, and inside tests.
