//! The group that the launcher of this process meant.

use std::sync::Arc;
use std::time::Duration;

use crate::{Alone, Error, Group, Result};

/// Variables by which launchers say how many processes they started.
const SIZES: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_SIZE", "Open MPI"),
    ("PMI_SIZE", "MPICH or Slurm"),
    ("SLURM_STEP_NUM_TASKS", "srun"),
    ("WORLD_SIZE", "torchrun"),
];

/// The beginnings of the names of variables that make a process part of a launcher's group.
const PREFIXES: [&str; 8] =
    ["OMPI_", "PMI_", "PMIX_", "PRTE_", "MPI_", "MPICH_", "HYDRA_", "HYDI_"];

/// The variable with the seconds to wait for a rank.
const TIMEOUT: &str = "MULTIMAE_TIMEOUT";

/// The seconds to wait for a rank unless [`TIMEOUT`] says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// A launcher and the number of processes that it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    launcher: &'static str,
    size: usize,
}

impl Announced {
    /// The first launcher that speaks of more than one process.
    fn new(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        SIZES.iter().find_map(|&(name, launcher)| {
            let size = variable(name)?.trim().parse().ok()?;
            (size > 1).then_some(Self { launcher, size })
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says which launcher started this process as one of several, if one did.
#[must_use]
pub fn announced() -> Option<String> {
    let Announced { launcher, size } = Announced::new(variable)?;
    Some(format!("{launcher} started {size} processes"))
}

/// The group of this process: the one that `mpirun` or `srun` started it in, or this process alone.
/// `notify` is called with a message right before the group is given up because a rank is silent.
///
/// # Errors
/// [`Error::Launch`] if the process was started as one of several, but they cannot find each
/// other: each would train by itself into the same folder.
pub fn group(notify: fn(&str)) -> Result<Arc<dyn Group>> {
    let timeout = timeout(variable(TIMEOUT).as_deref())?;
    match Announced::new(variable) {
        Some(announced) => joined(announced, timeout, notify),
        None => Ok(Arc::new(Alone)),
    }
}

/// Ends the process's part in its group after its work is done. All ranks must come here; without
/// MPI there is nothing to do.
pub fn finish() {
    #[cfg(feature = "mpi")]
    crate::mpi_link::finish();
}

/// Ends all processes of the group at once, if there is one that can be ended. Returns otherwise.
pub fn abort(code: u8) {
    #[cfg(feature = "mpi")]
    crate::mpi_link::abort(i32::from(code));
    #[cfg(not(feature = "mpi"))]
    let _ = code;
}

/// The environment variables of this process that must be removed for a child process that is not
/// to be part of the group.
#[must_use]
pub fn variables_of_group() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let of_size = |name: &str| SIZES.iter().any(|(size, _)| *size == name);
    names.filter(|name| of_size(name) || PREFIXES.iter().any(|p| name.starts_with(p))).collect()
}

fn timeout(seconds: Option<&str>) -> Result<Duration> {
    let Some(text) = seconds else { return Ok(DEFAULT_TIMEOUT) };
    let seconds = text.trim().parse::<f64>().ok();
    let timeout = seconds.filter(|s| *s > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
    timeout.ok_or_else(|| {
        Error::Launch(format!("{TIMEOUT}={text}: give a number of seconds above 0, as in 600"))
    })
}

#[cfg(feature = "mpi")]
fn joined(announced: Announced, timeout: Duration, notify: fn(&str)) -> Result<Arc<dyn Group>> {
    let link = crate::mpi_link::MpiLink::start(notify)?;
    let size = crate::Link::size(&link);
    if size == 1 {
        let Announced { launcher, size } = announced;
        return Err(Error::Launch(format!(
            "{launcher} says that this is one of {size} processes, MPI says that it is the only \
             one: the launcher belongs to another MPI than the program was built with, or to none. \
             Start it with the `mpirun` of that MPI, or with `srun --mpi=pmix` or `--mpi=pmi2`"
        )));
    }
    Ok(Arc::new(crate::Linked::new(link, timeout)))
}

#[cfg(not(feature = "mpi"))]
fn joined(announced: Announced, _: Duration, _: fn(&str)) -> Result<Arc<dyn Group>> {
    let Announced { launcher, size } = announced;
    Err(Error::Launch(format!(
        "{launcher} started {size} processes, but this program was built without MPI: each would \
         train by itself into the same folder. Build it with `--features mpi`, or start it once"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(variables: &[(&str, &str)]) -> Option<Announced> {
        Announced::new(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_recognised_by_their_sizes() {
        for (name, launcher) in SIZES {
            let found = announced(&[(name, "4")]);
            assert_eq!(found, Some(Announced { launcher, size: 4 }));
            assert_eq!(announced(&[(name, "1")]), None);
        }
        assert_eq!(announced(&[("SLURM_NTASKS", "4")]), None, "a batch script is no step");
        assert_eq!(announced(&[]), None);
    }

    #[test]
    fn a_timeout_is_a_number_of_seconds() {
        assert_eq!(timeout(None).unwrap(), DEFAULT_TIMEOUT);
        assert_eq!(timeout(Some("1.5")).unwrap(), Duration::from_millis(1500));
        for wrong in ["0", "-1", "soon", "nan", "1e300"] {
            let message = timeout(Some(wrong)).unwrap_err().to_string();
            assert!(message.contains(wrong) && message.contains(TIMEOUT), "{message}");
        }
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn several_processes_without_mpi_are_refused() {
        let announced = Announced { launcher: "torchrun", size: 2 };
        let message = joined(announced, DEFAULT_TIMEOUT, |_| ()).unwrap_err().to_string();
        assert!(message.contains("torchrun started 2") && message.contains("--features mpi"));
    }
}
