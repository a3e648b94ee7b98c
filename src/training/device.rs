//! Where the network runs.

#[cfg(target_os = "linux")]
use std::ffi::{c_char, c_int, c_void};

use tch::{Cuda, Device};

use crate::config::DeviceChoice;
use crate::error::{Error, Result};

/// Whether libtorch sees a CUDA device.
fn has_cuda() -> bool {
    #[cfg(target_os = "linux")]
    load_cuda();
    Cuda::is_available()
}

/// Loads libtorch's CUDA half where there is one: no Rust code names its symbols, so the linker leaves it out. It has to be
/// there before libtorch is asked for CUDA the first time, because it remembers its answer.
#[cfg(target_os = "linux")]
fn load_cuda() {
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    }
    const RTLD_NOW: c_int = 2;
    // SAFETY: the name is a constant that ends in NUL; a library that is not there gives null, and CUDA stays unavailable.
    unsafe { dlopen(c"libtorch_cuda.so".as_ptr(), RTLD_NOW) };
}

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
        DeviceChoice::Auto if has_cuda() => Ok(Device::Cuda(0)),
        DeviceChoice::Auto if tch::utils::has_mps() => Ok(Device::Mps),
        DeviceChoice::Auto => Ok(Device::Cpu),
        DeviceChoice::Cuda if has_cuda() => Ok(Device::Cuda(0)),
        DeviceChoice::Cuda => {
            missing("Auto or Cpu (for CUDA, set up again with `make run CUDA=1`)", "Cuda, which libtorch does not see")
        }
        DeviceChoice::Mps if tch::utils::has_mps() => Ok(Device::Mps),
        DeviceChoice::Mps => missing("Auto or Cpu", "Mps, which libtorch does not see"),
    }
}

/// The device of one of several processes on this machine: of several GPUs each takes its own.
pub fn of_process(device: Device, local_rank: usize) -> Device {
    match device {
        Device::Cuda(_) => Device::Cuda(local_rank % (Cuda::device_count().max(1) as usize)),
        device => device,
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

/// Whether CUDA is there and where training will run by itself, in a sentence for the notebook.
pub fn cuda_report() -> String {
    if has_cuda() {
        return format!("CUDA is available: {} device(s)", Cuda::device_count());
    }
    let place = if tch::utils::has_mps() { "Apple's GPU (MPS)" } else { "the CPU" };
    format!("CUDA is not available: training runs on {place}")
}
