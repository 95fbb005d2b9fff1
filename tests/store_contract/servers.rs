//! The two servers that are compared.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headcount::store::{Options, Store, StoreError};
use tokio::sync::watch;

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

/// A real Redis, as a process of its own.
pub struct Redis {
    pub address: SocketAddr,
    process: Child,
}

impl Redis {
    /// Starts one on a free port and waits until it answers.
    pub fn start() -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // Somebody may take the port between these two lines, then the next one will do.
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let process = Command::new("redis-server")
                .args(["--port", &free.port().to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no"])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is needed for these tests");
            let mut redis = Self { address: free, process };
            while redis.process.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(free).is_ok() {
                    return redis;
                }
                assert!(Instant::now() < deadline, "redis-server does not answer");
                std::thread::yield_now();
            }
            assert!(Instant::now() < deadline, "redis-server does not start");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
