//! The workers: each has its own thread, except that the first runs on the server's.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::auth::Verification;
use crate::config::Config;
use crate::http::accept::WorkerHandle;
use crate::hub::queue::{Sender, queue};
use crate::hub::{Publisher, Registry, Shard};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::session::{ATTACHES, ORDERS, Order, Outbound, Worker, run};

/// How many workers one node may have: each has one bit in the registry.
const MAX_WORKERS: usize = 64;

/// The handles to the workers, and the tasks that run them.
#[derive(Default)]
pub struct Workers {
    pub lanes: Vec<WorkerHandle>,
    pub deliveries: Vec<Sender>,
    pub orders: Vec<mpsc::Sender<Order>>,
    pub pulses: Vec<Pulse>,
    pub running: JoinSet<()>,
}

impl Workers {
    /// Starts as many workers as the configuration says.
    ///
    /// # Errors
    /// The system cannot provide a thread or a runtime.
    pub fn start(
        config: &Config,
        registry: &Arc<Registry>,
        verification: &Arc<Verification>,
        publisher: &Publisher,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let mut all = Self::default();
        for index in 0..config.server.workers.clamp(1, MAX_WORKERS) {
            let (attach_sender, attaches) = mpsc::channel(ATTACHES);
            let (delivery_sender, deliveries) = queue();
            let (order_sender, orders) = mpsc::channel(ORDERS);
            let (config, registry, metrics) = (config.clone(), registry.clone(), metrics.clone());
            let (verification, publisher) = (verification.clone(), publisher.clone());
            let pulse = Pulse::default();
            all.pulses.push(pulse.clone());
            let work = async move {
                let shard =
                    Shard::new(index as u8, registry.clone(), config.channels, config.limits.clone(), metrics.clone());
                let worker = Worker::new(
                    shard,
                    registry,
                    config.limits,
                    config.session,
                    verification,
                    Outbound::new(publisher),
                    metrics,
                )?;
                run(worker, attaches, deliveries, orders, pulse).await
            };
            let runtime = if index == 0 {
                all.running.spawn(async move { report(work.await) });
                Handle::current()
            } else {
                let (handle, thread) = start_thread(index, work)?;
                all.running.spawn_blocking(move || {
                    if thread.join().is_err() {
                        tracing::error!("a worker's thread panicked");
                    }
                });
                handle
            };
            all.lanes.push(WorkerHandle { runtime, attaches: attach_sender });
            all.deliveries.push(delivery_sender);
            all.orders.push(order_sender);
        }
        Ok(all)
    }
}

fn start_thread(
    index: usize,
    work: impl Future<Output = io::Result<()>> + Send + 'static,
) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread =
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || report(runtime.block_on(work)))?;
    Ok((handle, thread))
}

fn report(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "a worker failed");
    }
}
