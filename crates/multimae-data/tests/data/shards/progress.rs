//! The progress of an index that is made.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use multimae_data::shards::observe_indexing;

use super::{copied, open};

#[test]
fn an_index_that_is_made_is_observed_and_one_that_is_there_is_not() {
    // Other tests make indexes at the same time, in other folders.
    let seen: Arc<Mutex<Vec<(PathBuf, u64, u64)>>> = Arc::default();
    let events = Arc::clone(&seen);
    assert!(observe_indexing(move |indexing| {
        let event = (indexing.folder.to_owned(), indexing.done, indexing.total);
        events.lock().unwrap().push(event);
    }));
    assert!(!observe_indexing(|_| {}));
    let (_dir, root) = copied("webdataset");
    let own = || {
        let seen = seen.lock().unwrap();
        let own = seen.iter().filter(|(folder, ..)| *folder == root);
        own.map(|&(_, done, total)| (done, total)).collect::<Vec<_>>()
    };
    open(&root);
    assert_eq!(own(), [(1, 2), (2, 2), (2, 2)]);
    open(&root);
    assert_eq!(own().len(), 3);
}
