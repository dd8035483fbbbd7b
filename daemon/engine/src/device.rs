//! Chooses where tensors live. Nothing outside this file and [`crate::ops`] knows which device it is.

pub use candle_core::Device;

use hotplate_gemm::Registers;
pub use hotplate_gemm::measure::{GENERATION, Measured, candidates, fastest, measure};
pub use hotplate_gemm::{Arithmetic, Machine, Processor, Tiles, Values, tiles, use_machine};

/// What a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best device that is compiled in and present.
    #[default]
    Auto,
    Cpu,
    Cuda,
    Metal,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("this build has no {device} support; build with `--features {feature}`, or choose `auto`")]
    NotCompiled { device: &'static str, feature: &'static str },
    #[error("{device} was asked for, but cannot be used here: {source}; choose `auto` or `cpu`")]
    NotPresent { device: &'static str, source: candle_core::Error },
}

/// Bounds the threads of this process's loops and products. To be called before the first tensor is touched.
///
/// # Errors
/// The threads are already at work.
pub fn use_threads(threads: usize) -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()
}

/// What the processor is used for: threads, registers, and which values are multiplied.
pub fn processor() -> String {
    let machine = Machine::here();
    let registers = match machine.registers() {
        #[cfg(target_arch = "x86_64")]
        Registers::Amx => ", AMX",
        #[cfg(target_arch = "x86_64")]
        Registers::Avx512 => ", AVX-512",
        #[cfg(target_arch = "x86_64")]
        Registers::Avx2 => ", AVX2",
        #[cfg(target_arch = "aarch64")]
        Registers::Neon => ", NEON",
        Registers::Portable if cfg!(target_arch = "x86_64") => ", without AVX2 and so slower",
        Registers::Portable => "",
    };
    let values = match machine.values() {
        Values::F32 => "",
        Values::Bf16 => ", bf16 products",
    };
    let threads = rayon::current_num_threads();
    format!("{threads} thread{}{registers}{values}", if threads == 1 { "" } else { "s" })
}

/// Runs a piece of work on a thread of the pool: the present one's, or else the common one.
///
/// A step is thousands of short loops. From a thread outside, each of them would be handed over and waited for, at the cost of two wake-ups;
/// from a thread of the pool, a loop begins where it stands.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// # Errors
/// A device that is asked for by name and missing; `Auto` always finds one.
pub fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Auto => Ok(cuda().or_else(|_| metal()).unwrap_or(Device::Cpu)),
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => cuda(),
        DeviceChoice::Metal => metal(),
    }
}

fn cuda() -> Result<Device, DeviceError> {
    if !candle_core::utils::cuda_is_available() {
        return Err(DeviceError::NotCompiled { device: "CUDA", feature: "cuda" });
    }
    Device::new_cuda(0).map_err(|source| DeviceError::NotPresent { device: "CUDA", source })
}

fn metal() -> Result<Device, DeviceError> {
    if !candle_core::utils::metal_is_available() {
        return Err(DeviceError::NotCompiled { device: "Metal", feature: "metal" });
    }
    Device::new_metal(0).map_err(|source| DeviceError::NotPresent { device: "Metal", source })
}

/// The device and what multiplies on it: `cpu amx/bf16`. Where it is the same, so are all bits.
pub fn kernels(device: &Device) -> String {
    match device {
        Device::Cpu => format!("cpu {}", Machine::here()),
        Device::Cuda(_) | Device::Metal(_) => describe(device).to_owned(),
    }
}

/// A short name for `status`.
pub fn describe(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}
