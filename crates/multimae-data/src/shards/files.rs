//! Open shards.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use multimae_io::positioned::read_exact_at;

use super::index::FileState;
use super::scan::{BLOCK, Member};
use crate::decode::Problem;

/// Shards that are open at the same time: systems allow a process some hundred files.
const MOST_OPEN: usize = 256;

/// The shards that were read last, by their numbers.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    open: Mutex<LastUsed>,
}

#[derive(Debug, Default)]
struct LastUsed {
    files: HashMap<usize, (Arc<fs_err::File>, u64)>,
    /// Counts the reads.
    clock: u64,
}

impl OpenFiles {
    /// Reads a member of a shard.
    ///
    /// # Errors
    /// If the shard is gone, cut, or not in the state that its index tells of.
    pub(super) fn read(
        &self,
        number: usize,
        (path, state): (&Path, FileState),
        member: Member,
    ) -> Result<Vec<u8>, Problem> {
        let file = self.file(number, path, state)?;
        let offset = u64::from(member.block) * BLOCK;
        // An index may claim more than there is: no memory is taken for it.
        if offset + u64::from(member.len) > state.len {
            return Err(format!(
                "at byte {offset} of its shard: {} bytes are more than it has; delete the index of \
                 the shards",
                member.len
            ));
        }
        let mut bytes = vec![0; member.len as usize];
        read_exact_at(file.file(), &mut bytes, offset)
            .map_err(|error| format!("at byte {offset} of its shard: {error}"))?;
        Ok(bytes)
    }

    fn file(
        &self,
        number: usize,
        path: &Path,
        state: FileState,
    ) -> Result<Arc<fs_err::File>, Problem> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = lock().get(number) {
            return Ok(file);
        }
        // Opened without the lock: on a network that takes a while.
        let file = fs_err::File::open(path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if FileState::from(&metadata) != state {
            return Err("its shard changed after the index was made; start again, so that it is \
                        indexed as it is now"
                .to_owned());
        }
        let file = Arc::new(file);
        lock().insert(number, &file);
        Ok(file)
    }
}

impl LastUsed {
    fn get(&mut self, number: usize) -> Option<Arc<fs_err::File>> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(&number)?;
        *used = self.clock;
        Some(Arc::clone(file))
    }

    fn insert(&mut self, number: usize, file: &Arc<fs_err::File>) {
        if self.files.len() >= MOST_OPEN {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                self.files.remove(&oldest);
            }
        }
        self.files.insert(number, (Arc::clone(file), self.clock));
    }
}
