//! The two servers that are compared.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headcount::store::{Options, Store, StoreError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::support::redis;

/// The embedded store, in this process.
pub struct Embedded {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Starts one that keeps nothing.
    pub fn start() -> Self {
        Self::open(Options::default()).unwrap()
    }

    /// Starts one that is kept where another was kept that has stopped. Other tests start programs,
    /// and a child has its parent's locks until it becomes the program; so this may take a moment.
    pub fn reopen(options: &Options) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Self::open(options.clone()) {
                Err(StoreError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                outcome => return outcome.unwrap(),
            }
        }
    }

    /// Starts one.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let store = Store::open(options)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                store.serve(listener, stopped).await.unwrap();
            });
        };
        Ok(Self { address, stop, thread: Some(std::thread::spawn(run)) })
    }

    /// Stops it and waits until it has.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

/// A real Redis, for tests that wait without a runtime: a container, or else a process.
pub struct Redis {
    pub address: SocketAddr,
    server: Option<redis::Redis>,
    runtime: Runtime,
}

impl Redis {
    /// Starts one on a free port and waits until it answers.
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(redis::Redis::start_real());
        Self { address: ([127, 0, 0, 1], server.port()).into(), server: Some(server), runtime }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A container is taken down by its own runtime.
        let _inside = self.runtime.enter();
        self.server.take();
    }
}
