//! Where the network runs.

use tch::{Cuda, Device};

use crate::config::DeviceChoice;
use crate::{Error, Result};

/// Turns the choice into a device that is really there.
///
/// # Errors
/// [`Error::Config`] when the chosen device is not available to this libtorch.
pub fn select(choice: DeviceChoice) -> Result<Device> {
    let missing = |expected: &str, found: &str| {
        Err(Error::Config { field: "train.device", expected: expected.into(), found: found.into() })
    };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto if Cuda::is_available() => Ok(Device::Cuda(0)),
        DeviceChoice::Auto if tch::utils::has_mps() => Ok(Device::Mps),
        DeviceChoice::Auto => Ok(Device::Cpu),
        DeviceChoice::Cuda if Cuda::is_available() => Ok(Device::Cuda(0)),
        DeviceChoice::Cuda => {
            missing("Auto or Cpu (for CUDA, set up again with `make run CUDA=1`)", "Cuda, which libtorch does not see")
        }
        DeviceChoice::Mps if tch::utils::has_mps() => Ok(Device::Mps),
        DeviceChoice::Mps => missing("Auto or Cpu", "Mps, which libtorch does not see"),
    }
}

/// The device in words: "CPU, 2 threads", "CUDA device 0 of 1".
pub fn describe(device: Device) -> String {
    match device {
        Device::Cpu => format!("CPU, {} threads", tch::get_num_threads()),
        Device::Cuda(index) => format!("CUDA device {index} of {}", Cuda::device_count()),
        Device::Mps => "MPS (Apple GPU)".into(),
        Device::Vulkan => "Vulkan".into(),
    }
}

/// Whether CUDA is there, in a sentence for the notebook.
pub fn cuda_report() -> String {
    match (Cuda::is_available(), Cuda::device_count()) {
        (true, count) => format!("CUDA is available: {count} device(s)"),
        (false, _) => "CUDA is not available: this libtorch runs on the CPU".into(),
    }
}
