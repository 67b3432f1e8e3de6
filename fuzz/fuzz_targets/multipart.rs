//! Bodies of the server's requests: forms and images.

#![no_main]

use std::cell::RefCell;

use multimae_fuzz::bounded;
use multimae_serve::fuzzing::read_body;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = RefCell::new(Builder::new_current_thread().build().ok());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    RUNTIME.with_borrow(|runtime| {
        let Some(runtime) = runtime else { return };
        for kind in ["multipart/form-data; boundary=x", "image/png"] {
            bounded(64, || runtime.block_on(read_body(kind, data)));
        }
    });
});
