//! libtorch's engine for several processes, behind types that cannot be misused: the C++ beside this file, and nothing more.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use tch::Tensor;

type Words = *mut c_char;

unsafe extern "C" {
    fn tinyast_free(memory: *mut c_void);
    fn tinyast_has_nccl() -> bool;
    fn tinyast_store_open(
        host: *const c_char,
        port: u16,
        serves: bool,
        timeout_ms: i64,
        store: *mut *mut c_void,
    ) -> Words;
    fn tinyast_store_within(store: *mut c_void, prefix: *const c_char, within: *mut *mut c_void) -> Words;
    fn tinyast_store_close(store: *mut c_void);
    fn tinyast_store_set(store: *mut c_void, key: *const c_char, value: *const u8, length: usize) -> Words;
    fn tinyast_store_get(store: *mut c_void, key: *const c_char, value: *mut *mut u8, length: *mut usize) -> Words;
    fn tinyast_store_add(store: *mut c_void, key: *const c_char, amount: i64, sum: *mut i64) -> Words;
    fn tinyast_group_open(
        store: *mut c_void,
        rank: c_int,
        size: c_int,
        on_gpus: bool,
        interface: *const c_char,
        address: *const c_char,
        timeout_ms: i64,
        group: *mut *mut c_void,
    ) -> Words;
    fn tinyast_group_set_timeout(group: *mut c_void, timeout_ms: i64) -> Words;
    fn tinyast_group_close(group: *mut c_void);
    fn tinyast_group_sum(group: *mut c_void, tensor: *mut c_void, work: *mut *mut c_void) -> Words;
    fn tinyast_group_broadcast(group: *mut c_void, tensor: *mut c_void, root: c_int, work: *mut *mut c_void) -> Words;
    fn tinyast_work_wait(work: *mut c_void, at_most_ms: i64, done: *mut bool) -> Words;
    fn tinyast_work_close(work: *mut c_void);
}

/// Whether this build has NCCL.
pub fn has_nccl() -> bool {
    // SAFETY: gives a constant.
    unsafe { tinyast_has_nccl() }
}

/// What c10d says when something fails, in its own words.
pub type Outcome<T> = Result<T, String>;

/// A table of names and values that all processes reach.
#[derive(Debug)]
pub struct Store(NonNull<c_void>);

/// The processes as those who add up tensors.
#[derive(Debug)]
pub struct Members(NonNull<c_void>);

/// Something that all processes do together, under way. It holds on to its tensor.
#[derive(Debug)]
pub struct Work(NonNull<c_void>);

// SAFETY: every operation of a c10d store takes its lock.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}
// SAFETY: c10d's groups may be used from any thread, by one at a time.
unsafe impl Send for Members {}

impl Store {
    /// Reaches the store at `host`, and makes it where `serves`.
    pub fn open(host: &str, port: u16, serves: bool, timeout: Duration) -> Outcome<Self> {
        let host = text(host)?;
        // SAFETY: the host ends in NUL; the result is written before it is read.
        made(|store| unsafe { tinyast_store_open(host.as_ptr(), port, serves, milliseconds(timeout), store) })
            .map(Store)
    }

    /// The same store, with names of its own.
    pub fn within(&self, prefix: &str) -> Outcome<Self> {
        let prefix = text(prefix)?;
        // SAFETY: the store is open as long as `self` is, and the new one holds on to what it needs of it.
        made(|within| unsafe { tinyast_store_within(self.0.as_ptr(), prefix.as_ptr(), within) }).map(Store)
    }

    /// Gives a name a value.
    pub fn set(&self, key: &str, value: &str) -> Outcome<()> {
        let key = text(key)?;
        // SAFETY: key and value live through the call.
        said(unsafe { tinyast_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value of a name, if it has one.
    pub fn get(&self, key: &str) -> Outcome<Option<String>> {
        let key = text(key)?;
        let (mut value, mut length) = (null_mut(), 0);
        // SAFETY: the key lives through the call, the results are written before they are read.
        said(unsafe { tinyast_store_get(self.0.as_ptr(), key.as_ptr(), &raw mut value, &raw mut length) })?;
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: the value is `length` bytes of its own memory, which is given back once.
        let bytes = unsafe { std::slice::from_raw_parts(value, length) }.to_vec();
        unsafe { tinyast_free(value.cast()) };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Adds to the number of a name, which is 0 at first, and gives the sum.
    pub fn add(&self, key: &str, amount: i64) -> Outcome<i64> {
        let key = text(key)?;
        let mut sum = 0;
        // SAFETY: the key lives through the call, the sum is written before it is read.
        said(unsafe { tinyast_store_add(self.0.as_ptr(), key.as_ptr(), amount, &raw mut sum) })?;
        Ok(sum)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `open` or `within`, and closed once.
        unsafe { tinyast_store_close(self.0.as_ptr()) }
    }
}

impl Members {
    /// Brings the processes together, which takes all of them. `interface` is a network interface; where it is empty, the one of `address` serves.
    pub fn open(
        store: &Store,
        (rank, size): (usize, usize),
        on_gpus: bool,
        interface: &str,
        address: &str,
        timeout: Duration,
    ) -> Outcome<Self> {
        let (interface, address) = (text(interface)?, text(address)?);
        let (rank, size) = (rank as c_int, size as c_int);
        // SAFETY: the store is open, the texts end in NUL, the result is written before it is read.
        made(|group| unsafe {
            let (store, timeout_ms) = (store.0.as_ptr(), milliseconds(timeout));
            tinyast_group_open(store, rank, size, on_gpus, interface.as_ptr(), address.as_ptr(), timeout_ms, group)
        })
        .map(Members)
    }

    /// How long something may take from now on.
    pub fn set_timeout(&self, timeout: Duration) -> Outcome<()> {
        // SAFETY: the group is open as long as `self` is.
        said(unsafe { tinyast_group_set_timeout(self.0.as_ptr(), milliseconds(timeout)) })
    }

    /// Begins to replace a tensor by the sum of everyone's.
    pub fn sum(&self, tensor: &Tensor) -> Outcome<Work> {
        // SAFETY: a `Tensor` is a pointer to libtorch's own tensor, of which the work takes a reference.
        made(|work| unsafe { tinyast_group_sum(self.0.as_ptr(), tensor.as_ptr().cast_mut().cast(), work) }).map(Work)
    }

    /// Begins to replace a tensor by that of process `root`.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Outcome<Work> {
        let root = root as c_int;
        // SAFETY: as above.
        made(|work| unsafe { tinyast_group_broadcast(self.0.as_ptr(), tensor.as_ptr().cast_mut().cast(), root, work) })
            .map(Work)
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // SAFETY: made by `open`, and closed once.
        unsafe { tinyast_group_close(self.0.as_ptr()) }
    }
}

impl Work {
    /// Waits for at most so long, and says whether it is done.
    pub fn wait(&self, at_most: Duration) -> Outcome<bool> {
        let mut done = false;
        // SAFETY: the work is open as long as `self` is, the result is written before it is read.
        said(unsafe { tinyast_work_wait(self.0.as_ptr(), milliseconds(at_most), &raw mut done) })?;
        Ok(done)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: made by the group, and closed once.
        unsafe { tinyast_work_close(self.0.as_ptr()) }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn text(text: &str) -> Outcome<CString> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

/// Nothing, or the words of what went wrong.
fn said(words: Words) -> Outcome<()> {
    if words.is_null() {
        return Ok(());
    }
    // SAFETY: words end in NUL and are memory of their own, which is given back once.
    let text = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
    unsafe { tinyast_free(words.cast()) };
    Err(text)
}

/// What a function makes where it is told to put it.
fn made(make: impl FnOnce(*mut *mut c_void) -> Words) -> Outcome<NonNull<c_void>> {
    let mut place = null_mut();
    said(make(&raw mut place))?;
    NonNull::new(place).ok_or_else(|| "nothing was made".into())
}
