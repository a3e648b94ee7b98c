//! The processes as a training loop sees them, carried by c10d.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tch::Tensor;

use super::c10d::{self, Members, Outcome, Store, Work};
use super::peers::Peers;
use super::place::Place;
use super::pulse::{Failure, Pulse};
use crate::config::DeviceChoice;
use crate::error::{Error, Result};

/// How long a wait is before one looks for who it is that does not come.
const PATIENCE: Duration = Duration::from_millis(500);
/// Whose connection broke is named who has given no sign of life for so long,
const SILENT: Duration = Duration::from_secs(3);
/// and this is how long one looks for it.
const SEARCH: Duration = Duration::from_secs(7);
/// The one that keeps the meeting place stays so long when it fails, for the others to read there why.
const LAST_WORDS: Duration = Duration::from_millis(2_500);
/// How long something that all do together may take where all are alive: they wait while the first one prepares a data set.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long the one that keeps the meeting place waits for the others to leave it.
const FAREWELL: Duration = Duration::from_secs(5);

const NEXT: &str = "Start the run again: it goes on after its last whole epoch.";

/// This process among the others.
pub struct Group {
    place: Place,
    store: Store,
    pulse: Pulse,
    /// Left as it is where a peer is gone: closing it would wait for that one.
    members: ManuallyDrop<Members>,
    /// The same between GPUs, by NCCL, which adds up nothing else.
    on_gpus: Option<ManuallyDrop<Members>>,
    is_whole: Cell<bool>,
}

impl Group {
    /// Meets the others, and waits until all are there.
    ///
    /// # Errors
    /// [`Error::Process`] when the meeting place cannot be reached or is taken, or when someone does not come in time.
    pub fn join(place: Place, device: DeviceChoice) -> Result<Self> {
        let (rank, size, timeout) = (place.rank, place.size, place.timeout);
        let at = format!("{}:{}", place.master, place.port);
        let refuse = |doing: &str, reason: String, next: &str| Error::Process {
            rank,
            size,
            doing: doing.into(),
            reason,
            next: next.into(),
        };
        let serves = rank == 0 && !place.is_kept;
        let (doing, next) = match serves {
            true => (
                "opening the meeting place",
                "Name this machine in MASTER_ADDR, and a port that nothing else uses in MASTER_PORT.",
            ),
            false => ("looking for process 0", "Check MASTER_ADDR and MASTER_PORT, and that process 0 was started."),
        };
        let open = |timeout| Store::open(&place.master, place.port, serves, timeout);
        let unreachable = |error: String| refuse(doing, format!("{at}: {}", first_line(&error)), next);
        let root = open(timeout).map_err(unreachable)?;
        // A connection of its own: one that waits does not hold up the other.
        let second = Store::open(&place.master, place.port, false, timeout).map_err(unreachable)?;
        // The meeting place is process 0's own, unless whoever started all of them keeps it.
        let lost = |error: String| {
            let reason = format!("{at}: {}", first_line(&error));
            let reason = if place.is_kept { reason } else { format!("process 0 is lost, {reason}") };
            refuse("meeting the others", reason, NEXT)
        };
        let prefix = format!("tinyast/{}", place.attempt);
        let store = root.within(&prefix).map_err(lost)?;
        let pulse = Pulse::start(second.within(&format!("{prefix}/pulse")).map_err(lost)?, rank, size);

        let own = address_towards(&place.master, place.port);
        store.set(&format!("here/{rank}"), &own.map_or(String::new(), |own| own.to_string())).map_err(lost)?;
        store.add("here", 1).map_err(lost)?;
        let begun = Instant::now();
        while store.add("here", 0).map_err(lost)? < size as i64 {
            if begun.elapsed() > timeout {
                let missing = missing(&store, size).map_err(lost)?;
                let reason = format!("no word of process {missing} after {} s", timeout.as_secs());
                return Err(refuse("meeting the others", reason, "Check that all were started, with one WORLD_SIZE."));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let address = own_address(&store, own, size).map_err(lost)?;
        let interface = place.interface.clone().unwrap_or_default();

        // Who vanishes at this moment would be waited for as long as c10d waits.
        let (sender, receiver) = channel();
        let meeting = store.within("group").map_err(lost)?;
        thread::spawn(move || {
            let open = |name: &str, on_gpus: bool| {
                let store = meeting.within(name)?;
                let members = Members::open(&store, (rank, size), on_gpus, &interface, &address, timeout)?;
                members.set_timeout(LONGEST).map(|()| members)
            };
            let on_gpus = || by_nccl(device).then(|| open("gpus", true)).transpose();
            let _ = sender.send(open("processors", false).and_then(|members| Ok((members, on_gpus()?))));
        });
        pulse.watch(true);
        let members = loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(members) => break members,
                Err(RecvTimeoutError::Disconnected) => break Err("the thread that meets them ended".into()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(Failure { rank, reason }) = pulse.lost(SILENT) {
                        break Err(format!("process {rank} is lost: {reason}"));
                    }
                }
            }
        };
        pulse.watch(false);
        let hint = "Name the network between the machines in GLOO_SOCKET_IFNAME, and start again.";
        let (members, on_gpus) =
            members.map_err(|error| refuse("connecting with the others", first_line(&error).to_owned(), hint))?;
        let (members, on_gpus) = (ManuallyDrop::new(members), on_gpus.map(ManuallyDrop::new));
        Ok(Group { place, store, pulse, members, on_gpus, is_whole: Cell::new(true) })
    }

    /// Tells the others why this process ends before its time; where another did before, that stands.
    pub fn fail(&self, error: &Error) {
        self.is_whole.set(false);
        let reason = error.to_string().trim_end_matches('.').to_owned();
        self.pulse.tell(Failure { rank: self.place.rank, reason });
        let begun = Instant::now();
        while !self.pulse.has_told() && begun.elapsed() < SILENT {
            thread::sleep(Duration::from_millis(50));
        }
        if self.place.rank == 0 && !self.place.is_kept {
            // With it goes the meeting place, where the others are to read it.
            thread::sleep(LAST_WORDS);
        }
    }

    /// Those who can add up this tensor.
    fn members_for(&self, tensor: &Tensor) -> &Members {
        self.on_gpus.as_ref().filter(|_| tensor.device().is_cuda()).unwrap_or(&self.members)
    }

    fn done(&self, work: Outcome<Work>) -> Result<()> {
        let work = work.map_err(|error| self.explained(&error))?;
        // What failed is left as it is: it may be under way still.
        let work = ManuallyDrop::new(work);
        let mut watches = false;
        let result = loop {
            match work.wait(PATIENCE) {
                Ok(true) => break Ok(()),
                Ok(false) => {
                    if !std::mem::replace(&mut watches, true) {
                        self.pulse.watch(true);
                    }
                    if let Some(failure) = self.pulse.lost(self.place.timeout) {
                        break Err(self.lost(failure));
                    }
                }
                Err(error) => break Err(self.explained(&error)),
            }
        };
        if watches {
            self.pulse.watch(false);
        }
        if result.is_ok() {
            drop(ManuallyDrop::into_inner(work));
        }
        result
    }

    /// Who it was, where all that is known is that a connection broke.
    fn explained(&self, error: &str) -> Error {
        self.pulse.watch(true);
        let begun = Instant::now();
        while begun.elapsed() < SEARCH {
            if let Some(failure) = self.pulse.lost(SILENT) {
                return self.lost(failure);
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.refuse("adding up with the others", first_line(error).to_owned(), NEXT)
    }

    fn lost(&self, failure: Failure) -> Error {
        let Failure { rank, reason } = &failure;
        let error = self.refuse("training with the others", format!("process {rank} is lost: {reason}"), NEXT);
        // Whoever looks next reads it here, and not that this process ended, too.
        self.pulse.tell(failure);
        let begun = Instant::now();
        while !self.pulse.has_told() && begun.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(20));
        }
        error
    }
}

impl Peers for Group {
    fn rank(&self) -> usize {
        self.place.rank
    }

    fn size(&self) -> usize {
        self.place.size
    }

    fn local_rank(&self) -> usize {
        self.place.local_rank
    }

    fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.done(self.members_for(tensor).sum(tensor))
    }

    fn take_from_first(&self, tensor: &Tensor) -> Result<()> {
        self.done(self.members_for(tensor).broadcast(tensor, 0))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_whole.get() {
            return;
        }
        // The last one to leave the meeting place is the one that keeps it.
        let left = self.store.add("left", 1);
        let begun = Instant::now();
        let keeps = self.place.rank == 0 && !self.place.is_kept;
        while keeps && left.is_ok() && begun.elapsed() < FAREWELL {
            if self.store.add("left", 0).is_ok_and(|left| left >= self.place.size as i64) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        for members in std::iter::once(&mut self.members).chain(&mut self.on_gpus) {
            // SAFETY: closed once, here, and used by nobody afterwards.
            unsafe { ManuallyDrop::drop(members) }
        }
    }
}

/// Whether sums are made between GPUs, by NCCL. Where a build lacks it, Gloo carries them by way of the processor.
fn by_nccl(device: DeviceChoice) -> bool {
    let wants_gpu = matches!(device, DeviceChoice::Auto | DeviceChoice::Cuda);
    c10d::has_nccl() && wants_gpu && tch::Cuda::is_available()
}

/// Those of whom there is no word.
fn missing(store: &Store, size: usize) -> Outcome<String> {
    let mut missing = Vec::new();
    for rank in 0..size {
        if store.get(&format!("here/{rank}"))?.is_none() {
            missing.push(rank.to_string());
        }
    }
    let more = if missing.len() > 8 { format!(" and {} more", missing.len() - 8) } else { String::new() };
    Ok(format!("{}{more}", missing.iter().take(8).cloned().collect::<Vec<_>>().join(", ")))
}

/// The address of this machine on the way to another; no packet is sent.
fn address_towards(host: &str, port: u16) -> Option<IpAddr> {
    let target = (host, port).to_socket_addrs().ok()?.next()?;
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address at which the others reach this process: that on the way to the first, or, where the first is on this machine and others are not, that
/// on the way to those.
fn own_address(store: &Store, own: Option<IpAddr>, size: usize) -> Outcome<String> {
    if own.is_none_or(|own| own.is_loopback()) {
        for rank in 0..size {
            let other = store.get(&format!("here/{rank}"))?.and_then(|text| text.parse::<IpAddr>().ok());
            if let Some(other) = other.filter(|other| !other.is_loopback()) {
                // Its own, too, of a process beside this one.
                let towards = address_towards(&other.to_string(), 9).filter(|towards| !towards.is_loopback());
                return Ok(towards.unwrap_or(other).to_string());
            }
        }
    }
    Ok(own.map_or("127.0.0.1".into(), |own| own.to_string()))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches('.')
}
