//! One wasmtime engine for the whole process.
//!
//! Compiling takes about 1.7 s per megabyte of wasm on one core, and every test of an application would pay it again.
//! So what was compiled is kept where wasmtime keeps it (`wasmtime` below the user's cache directory), under a
//! hash of the wasm, the settings and the compiler's version; wasmtime also bounds its size.

use std::sync::OnceLock;

use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Instances that may exist at once, as with Spin: one more gives its client a 500.
const INSTANCES: u32 = 1_000;

/// The engine. It is shared, because its pool of instances reserves address space for [`INSTANCES`] linear memories of
/// 4 GiB each, which a test program with many applications cannot do for each of them.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine.clone());
    }
    // Without enough address space (a container's limit) instances are allocated one by one: slower, else the same.
    let engine = Engine::new(&config(InstanceAllocationStrategy::Pooling(pool())))
        .or_else(|_| Engine::new(&config(InstanceAllocationStrategy::OnDemand)))?;
    Ok(ENGINE.get_or_init(|| engine).clone())
}

fn config(allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    // Without a directory to write in, everything is compiled anew.
    let cache =
        Cache::new(CacheConfig::new()).inspect_err(|error| tracing::debug!("no compilation cache: {error:#}")).ok();
    config.wasm_component_model(true).allocation_strategy(allocation).cache(cache);
    config
}

/// Room for components composed of two, and for the many modules of one that was made from Python.
fn pool() -> PoolingAllocationConfig {
    const MIB: usize = 1 << 20;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(20 * INSTANCES)
        .total_memories(2 * INSTANCES)
        .total_tables(10 * INSTANCES)
        .total_stacks(INSTANCES)
        .max_component_instance_size(10 * MIB)
        .max_core_instance_size(10 * MIB)
        .max_core_instances_per_component(200)
        .max_tables_per_component(64)
        .max_memories_per_component(32);
    pool
}
