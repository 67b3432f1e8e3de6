//! The configuration of a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address to listen on. The default is loopback.
    pub listen: SocketAddr,
    /// Requests that are decoded, wait or are computed at one time; further ones are refused.
    pub permits: usize,
    /// Threads that decode, resize, upsample and encode at one time; further work waits.
    pub workers: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Pixels of an image, told by its header before it is decoded.
    pub max_pixels: u64,
    /// The deadline of a request; a client may set a shorter one.
    pub deadline: Duration,
    /// The token that clients send as `Authorization: Bearer TOKEN`.
    pub token: Option<String>,
    /// Folders of adapters that may be loaded at run time.
    pub adapter_folders: Vec<PathBuf>,
    /// Adapters that are loaded at one time; further ones are refused.
    pub max_adapters: usize,
    /// Bytes of predictions that are kept, whose files are encoded when they are fetched.
    pub max_kept: usize,
    /// The time that results are kept.
    pub kept_for: Duration,
    /// The model's name.
    pub model: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            permits: 32,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_body: 16 << 20,
            max_pixels: 16_000_000,
            deadline: Duration::from_secs(30),
            token: None,
            adapter_folders: Vec::new(),
            max_adapters: 64,
            max_kept: 64 << 20,
            kept_for: Duration::from_secs(60),
            model: String::new(),
        }
    }
}
