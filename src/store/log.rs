//! stub
use super::server::Server;
use super::settings::Fsync;

/// The log.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// stub
    pub fn set_fsync(&mut self, _: Fsync) {}
    /// stub
    pub fn next_time(&self, _: u64) -> Option<u64> {
        None
    }
}

impl Server {
    /// stub
    pub fn log_problem(&self) -> Option<String> {
        None
    }
    /// stub
    pub fn has_log(&self) -> bool {
        self.log.is_some()
    }
    /// stub
    pub fn is_rewriting(&self) -> bool {
        false
    }
    /// stub
    pub fn log_size(&self) -> u64 {
        0
    }
    /// stub
    pub fn start_rewrite(&mut self) {}
    /// stub
    pub fn finish_rewrite(&mut self) {}
    /// stub
    pub fn write_log(&mut self) {}
    /// stub
    pub fn close_log(&mut self) {}
}
