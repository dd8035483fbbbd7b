//! The name of the processor: what a choice of kernels is good for. It must not know of kernels.

use std::fmt;

/// A processor, as far as speed tells one from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    name: String,
}

impl Processor {
    /// The one that runs this thread now. A virtual machine may wake up on another.
    pub fn here() -> Processor {
        Processor { name: named() }
    }
}

/// `GenuineIntel family 6 model 207 stepping 2 microcode 0x1`; elsewhere than on x86-64 the architecture.
impl fmt::Display for Processor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Intel, "Architectures Software Developer's Manual", volume 2, CPUID: leaf 0 is the vendor, leaf 1 the rest.
#[cfg(target_arch = "x86_64")]
fn named() -> String {
    use std::arch::x86_64::__cpuid;

    let leaf = __cpuid(0);
    let vendor: Vec<u8> = [leaf.ebx, leaf.edx, leaf.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
    let signature = __cpuid(1).eax;
    let part = |from: u32, bits: u32| signature >> from & ((1 << bits) - 1);
    let (mut family, mut model) = (part(8, 4), part(4, 4));
    if family == 6 || family == 15 {
        model |= part(16, 4) << 4;
    }
    if family == 15 {
        family += part(20, 8);
    }
    let vendor = String::from_utf8_lossy(&vendor);
    let name = format!("{} family {family} model {model} stepping {}", vendor.trim(), part(0, 4));
    match microcode() {
        Some(version) => format!("{name} microcode {version}"),
        None => name,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn named() -> String {
    std::env::consts::ARCH.to_owned()
}

/// Only the operating system may read it; Linux tells.
#[cfg(target_arch = "x86_64")]
fn microcode() -> Option<String> {
    let told = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = told.lines().find(|line| line.starts_with("microcode"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_the_same_name_twice() {
        let name = Processor::here().to_string();
        assert_eq!(Processor::here().to_string(), name);
        assert!(!name.trim().is_empty() && !name.contains('\n'));
    }

    /// As the kernel reads the same registers.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn numbers_are_those_of_the_kernel() {
        let told = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let number = |key: &str| {
            let line = told.lines().find(|line| line.split('\t').next().unwrap().trim() == key).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        let wanted = format!(
            "{} family {} model {} stepping {}",
            number("vendor_id"),
            number("cpu family"),
            number("model"),
            number("stepping")
        );
        assert!(Processor::here().to_string().starts_with(&wanted), "{} is not {wanted}", Processor::here());
    }
}
