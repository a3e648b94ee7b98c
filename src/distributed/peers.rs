//! What a training loop asks of the other processes.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

use crate::config::differences::differences;
use crate::error::{Error, Result};

/// The processes that train together, as one of them sees them. Every call is made by all of them, in the same order.
pub trait Peers {
    /// Its number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Which of the GPUs of its machine is its own.
    fn local_rank(&self) -> usize;

    /// Replaces a tensor by the sum of everyone's.
    ///
    /// # Errors
    /// [`Error::Process`] naming the one that is gone.
    fn sum(&self, tensor: &Tensor) -> Result<()>;

    /// Replaces a tensor by the first process'.
    ///
    /// # Errors
    /// As [`Peers::sum`].
    fn take_from_first(&self, tensor: &Tensor) -> Result<()>;

    /// What is wrong with one of them, as the error of this one.
    fn refuse(&self, doing: &str, reason: String, next: &str) -> Error {
        let (rank, size) = (self.rank(), self.size());
        Error::Process { rank, size, doing: doing.into(), reason, next: next.into() }
    }
}

/// A process by itself.
pub struct Alone;

impl Peers for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn sum(&self, _tensor: &Tensor) -> Result<()> {
        Ok(())
    }

    fn take_from_first(&self, _tensor: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// The part of `n` things of process `rank` of `size`: they are shared out in their order, and as evenly as can be.
pub fn part_of(n: usize, (rank, size): (usize, usize)) -> Range<usize> {
    rank * n / size..(rank + 1) * n / size
}

impl dyn Peers + '_ {
    /// Whether it is the one that writes and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Its part of `n` things.
    pub fn part_of(&self, n: usize) -> Range<usize> {
        part_of(n, (self.rank(), self.size()))
    }

    /// How many things all of them have together.
    ///
    /// # Errors
    /// As [`Peers::sum`].
    pub fn count(&self, own: usize) -> Result<usize> {
        let sum = Tensor::from_slice(&[own as f64]);
        self.sum(&sum)?;
        Ok(sum.double_value(&[0]) as usize)
    }

    /// What the first process says.
    ///
    /// # Errors
    /// As [`Peers::sum`].
    pub fn told_by_first<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<T> {
        if self.size() == 1 {
            return Ok(value);
        }
        let unreadable = |error: serde_json::Error| {
            self.refuse("listening to process 0", error.to_string(), "Start every process from one build.")
        };
        let json = serde_json::to_vec(&value).map_err(unreadable)?;
        let json = self.bytes_of_first(json)?;
        serde_json::from_slice(&json).map_err(unreadable)
    }

    /// The bytes of the first process; what the others bring is passed over.
    ///
    /// # Errors
    /// As [`Peers::sum`].
    pub fn bytes_of_first(&self, own: Vec<u8>) -> Result<Vec<u8>> {
        if self.size() == 1 {
            return Ok(own);
        }
        let length = Tensor::from_slice(&[own.len() as i64]);
        self.take_from_first(&length)?;
        let bytes = match self.is_first() {
            true => Tensor::from_slice(&own),
            false => Tensor::zeros([length.int64_value(&[0])], (Kind::Uint8, Device::Cpu)),
        };
        self.take_from_first(&bytes)?;
        Vec::try_from(&bytes).map_err(|source| Error::Torch { action: "listening to process 0", source })
    }

    /// The rows of all processes, of which each has made some that follow each other from number `first` on: all `n`, as they are, in every process.
    ///
    /// # Errors
    /// As [`Peers::sum`].
    pub fn rows_of_all(&self, n: usize, first: usize, own: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        if self.size() == 1 {
            return Ok(own);
        }
        let makers = self.count(usize::from(!own.is_empty()))?;
        if makers == 0 {
            return Ok(own);
        }
        // Not every process has a row to tell their length by.
        let width = self.count(own.first().map_or(0, Vec::len))? / makers;
        let mut all = vec![0.0f32; n * width];
        for (place, row) in all.chunks_mut(width.max(1)).skip(first).zip(&own) {
            place.copy_from_slice(row);
        }
        // A number and nothings add up to that number.
        let all = Tensor::from_slice(&all);
        self.sum(&all)?;
        Vec::try_from(all.view([n as i64, width as i64]))
            .map_err(|source| Error::Torch { action: "reading the rows of all processes", source })
    }

    /// Refuses a process that has something else than the first, and names what differs, field by field.
    ///
    /// # Errors
    /// [`Error::Process`] of every process that has, and [`Peers::sum`]'s.
    pub fn agree<T: Serialize + DeserializeOwned + Clone>(&self, own: &T) -> Result<()> {
        let first = self.told_by_first(own.clone())?;
        let (expected, found) = differences(&first, own);
        if found.is_empty() {
            return Ok(());
        }
        let next = "Start every process from one build, with one config and one data set.";
        Err(self.refuse("comparing itself with process 0", format!("it has {found}, and process 0 {expected}"), next))
    }
}
