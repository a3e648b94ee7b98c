//! Several processes that train one network together.
//!
//! What a training loop needs to know of the others is [`peers::Peers`]; a process by itself is [`peers::Alone`]. With the feature `distributed`
//! a group stands behind it that libtorch's own engine, c10d, carries: Gloo between processors, NCCL between GPUs.

pub mod peers;
#[cfg(feature = "distributed")]
pub mod place;
#[cfg(feature = "distributed")]
mod c10d;
#[cfg(feature = "distributed")]
mod pulse;
#[cfg(feature = "distributed")]
pub mod group;
