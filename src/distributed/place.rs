//! Which of several processes this is, as whoever started them says: torchrun, Slurm, or this project's own `train`.

use std::time::Duration;

use crate::error::{Error, Result};

/// Where processes meet that were given no port.
const PORT: u16 = 29_500;
/// How long one waits for the others before it gives up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One of several processes, and where they meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Its number among those of its machine, from 0.
    pub local_rank: usize,
    /// The machine of the first of them, by name or address.
    pub master: String,
    /// The port there.
    pub port: u16,
    /// Whether someone else keeps the meeting place, as torchrun's agent does; else the first process does.
    pub is_kept: bool,
    /// Sets this start apart from others that meet at the same place.
    pub attempt: String,
    /// The network interface to go by; `None` is the one that leads to `master`.
    pub interface: Option<String>,
    /// How long one waits for another that gives no sign of life.
    pub timeout: Duration,
}

impl Place {
    /// What the environment says: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT` as torchrun sets them, or Slurm's
    /// `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`, `SLURM_LOCALID`, `SLURM_STEP_NODELIST`, with `MASTER_ADDR` and `MASTER_PORT` before what follows from
    /// those. `GLOO_SOCKET_IFNAME` names a network interface, `TINYAST_TIMEOUT_S` the wait. `None` where nobody started more than this one.
    ///
    /// # Errors
    /// [`Error::Config`] naming the variable that is missing or no number.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_variables(&|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let number = |name: &'static str| match variable(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<usize>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(refused(name, "a whole number", &text)),
            },
        };
        let needed = |name: &'static str, beside: &str| {
            number(name)?.ok_or_else(|| refused(name, &format!("to be set beside {beside}"), "none"))
        };
        let (rank, size, local_rank, master, port) = if let Some(rank) = number("RANK")? {
            let master =
                variable("MASTER_ADDR").ok_or_else(|| refused("MASTER_ADDR", "to be set beside RANK", "none"))?;
            let local_rank = number("LOCAL_RANK")?.unwrap_or(rank);
            (rank, needed("WORLD_SIZE", "RANK")?, local_rank, master, PORT)
        } else if number("WORLD_SIZE")?.is_some() {
            return Err(refused("RANK", "to be set beside WORLD_SIZE", "none"));
        } else if let Some(size) = number("SLURM_STEP_NUM_TASKS")?.filter(|size| *size > 1) {
            let nodes = || variable("SLURM_STEP_NODELIST").or_else(|| variable("SLURM_NODELIST"));
            let first = variable("MASTER_ADDR").or_else(|| nodes().map(|nodes| first_node(&nodes)));
            let master = first.ok_or_else(|| refused("MASTER_ADDR", "to be set, or SLURM_STEP_NODELIST", "none"))?;
            // Jobs that share a machine do not meet at one port.
            let job = number("SLURM_JOB_ID")?.unwrap_or(0);
            let local_rank = needed("SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")?;
            let port = 20_000 + (job % 20_000) as u16;
            (needed("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")?, size, local_rank, master, port)
        } else {
            return Ok(None);
        };
        if rank >= size {
            return Err(refused("RANK", &format!("below the number of processes, {size}"), &rank.to_string()));
        }
        let port = match number("MASTER_PORT")? {
            None => port,
            Some(port) => u16::try_from(port)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| refused("MASTER_PORT", "1 to 65535", &port.to_string()))?,
        };
        let timeout = match number("TINYAST_TIMEOUT_S")? {
            None => TIMEOUT,
            Some(seconds @ 1..=86_400) => Duration::from_secs(seconds as u64),
            Some(seconds) => return Err(refused("TINYAST_TIMEOUT_S", "1 to 86400", &seconds.to_string())),
        };
        let named = |name| variable(name).unwrap_or_default();
        Ok(Some(Place {
            rank,
            size,
            local_rank,
            master: master.trim().to_owned(),
            port,
            is_kept: variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|kept| kept == "True"),
            attempt: format!("{}/{}", named("TORCHELASTIC_RUN_ID"), named("TORCHELASTIC_RESTART_COUNT")),
            interface: variable("GLOO_SOCKET_IFNAME"),
            timeout,
        }))
    }
}

/// The first of a list of machines as Slurm writes it: `gpu[07-09,12],login` → `gpu07`.
fn first_node(nodes: &str) -> String {
    let end = nodes.find([',', '[']).unwrap_or(nodes.len());
    let (name, rest) = nodes.split_at(end);
    let Some(within) = rest.strip_prefix('[') else { return name.to_owned() };
    let number_len = within.find(|c: char| !c.is_ascii_digit()).unwrap_or(within.len());
    let behind = within.split_once(']').map_or("", |(_, behind)| behind.split(',').next().unwrap_or_default());
    format!("{name}{}{behind}", &within[..number_len])
}

fn refused(field: &'static str, expected: &str, found: &str) -> Error {
    Error::Config { field, expected: expected.into(), found: found.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Place::from_variables(&find)
    }

    #[test]
    fn what_torchrun_and_slurm_set_is_understood() {
        assert_eq!(place(&[]).unwrap(), None);
        let torchrun = [
            ("RANK", "3"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node1"),
            ("MASTER_PORT", "1234"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ("TORCHELASTIC_RUN_ID", "none"),
            ("TORCHELASTIC_RESTART_COUNT", "2"),
        ];
        let found = place(&torchrun).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_rank, found.port), (3, 4, 1, 1234));
        assert_eq!((found.master.as_str(), found.is_kept, found.attempt.as_str()), ("node1", true, "none/2"));
        let slurm = [
            ("SLURM_PROCID", "5"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[07-09,12]"),
            ("SLURM_JOB_ID", "40007"),
        ];
        let found = place(&slurm).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_rank), (5, 8, 1));
        assert_eq!((found.master.as_str(), found.port), ("gpu07", 20_007));
        // A batch script is a step of one task, however many the job has.
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert_eq!(place(&script).unwrap(), None);
    }

    #[test]
    fn half_a_start_is_refused_by_the_name_of_what_is_missing() {
        let message = |variables: &[(&str, &str)]| place(variables).unwrap_err().to_string();
        assert!(message(&[("RANK", "0"), ("MASTER_ADDR", "a")]).contains("WORLD_SIZE"));
        assert!(message(&[("WORLD_SIZE", "2")]).contains("RANK"));
        assert!(message(&[("RANK", "0"), ("WORLD_SIZE", "2")]).contains("MASTER_ADDR"));
        assert!(message(&[("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")]).contains("below"));
        assert!(message(&[("RANK", "one")]).contains("a whole number, found one"));
        let port = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")];
        assert!(message(&port).contains("1 to 65535"));
    }

    #[test]
    fn the_first_machine_of_a_list() {
        for (list, first) in [
            ("a", "a"),
            ("a,b", "a"),
            ("n[1-3]", "n1"),
            ("n[007,9]", "n007"),
            ("n[1-2]-ib,m", "n1-ib"),
            ("x1,n[2-3]", "x1"),
        ] {
            assert_eq!(first_node(list), first, "{list}");
        }
    }
}
