//! Which of the kernels this process runs: what the processor has, and what was asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lanes::Stored;
#[cfg(target_arch = "x86_64")]
use super::tiles::Tiles;
use super::tiles::{self, tiles};

/// How products with a weight are computed that is stored in fewer bits than f32's; all others are computed in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// What was measured to be fastest on this processor; unmeasured, bf16 where it multiplies such values, or else f32.
    #[default]
    Fastest,
    F32,
    /// Both sides are rounded to bf16 and added up in f32. A processor without the instruction takes several others for it: the
    /// same bits (but for what is too small for an exponent), about half as fast as f32.
    Bf16,
}

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;

    fn from_str(word: &str) -> Result<Self, UnknownArithmetic> {
        match word.trim() {
            "fastest" => Ok(Arithmetic::Fastest),
            "f32" => Ok(Arithmetic::F32),
            "bf16" => Ok(Arithmetic::Bf16),
            _ => Err(UnknownArithmetic { word: word.to_owned() }),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{word:?} is none of fastest, f32 and bf16")]
pub struct UnknownArithmetic {
    word: String,
}

/// The vector registers that kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// Tiles for products with many rows, and AVX-512 for all else.
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Registers {
    /// What a person writes for them.
    pub const fn word(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Registers::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Registers::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Registers::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Registers::Neon => "neon",
            Registers::Portable => "portable",
        }
    }
}

/// Which values a product multiplies, where the right side is stored in fewer bits than f32's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    F32,
    Bf16,
}

impl Values {
    const fn word(self) -> &'static str {
        match self {
            Values::F32 => "f32",
            Values::Bf16 => "bf16",
        }
    }
}

/// Which instructions run the kernels: those that this processor was asked about and has ([`Machine::all`]), and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    pub(crate) registers: Registers,
    pub(crate) values: Values,
}

/// Registers and values: `avx512/bf16`.
impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registers.word(), self.values.word())
    }
}

/// What this process runs, decided by whoever asks first.
static HERE: OnceLock<Machine> = OnceLock::new();
/// Whether the processor that the process lives on now has no tiles, while the one that it began on had.
static TILES_ARE_GONE: AtomicBool = AtomicBool::new(false);

/// Chooses how this process multiplies in CPU memory. To be called before the first tensor is touched: whether it was.
pub fn use_machine(machine: Machine) -> bool {
    HERE.set(machine).is_ok()
}

impl Machine {
    /// What this process runs.
    pub fn here() -> Machine {
        let here = *HERE.get_or_init(|| Machine::best(Arithmetic::default(), &Machine::all()));
        if TILES_ARE_GONE.load(Ordering::Relaxed) { here.without_tiles() } else { here }
    }

    pub const fn registers(self) -> Registers {
        self.registers
    }

    pub const fn values(self) -> Values {
        self.values
    }

    /// Looks again whether the processor still has the tiles that this process runs on: a virtual machine may have been moved. Whether it has just lost them.
    pub fn look_again() -> bool {
        let here = Machine::here();
        let lost = here != here.without_tiles() && !tiles::are_still_here();
        if lost {
            TILES_ARE_GONE.store(true, Ordering::Relaxed);
        }
        lost
    }

    /// The same values in the next best registers.
    fn without_tiles(self) -> Machine {
        match self.registers {
            #[cfg(target_arch = "x86_64")]
            Registers::Amx => Machine { registers: Registers::Avx512, ..self },
            _ => self,
        }
    }

    /// The best of them for an arithmetic, without a measurement.
    pub fn best(arithmetic: Arithmetic, among: &[Machine]) -> Machine {
        let fits = |machine: &&Machine| match arithmetic {
            Arithmetic::Fastest => machine.is_native(),
            Arithmetic::F32 => machine.values == Values::F32,
            Arithmetic::Bf16 => machine.values == Values::Bf16,
        };
        let portable = Machine { registers: Registers::Portable, values: Values::F32 };
        among.iter().find(fits).copied().unwrap_or(portable)
    }

    /// Whether there are instructions for its values.
    pub const fn is_native(self) -> bool {
        match self.registers {
            #[cfg(target_arch = "x86_64")]
            Registers::Amx | Registers::Avx512 => true,
            _ => matches!(self.values, Values::F32),
        }
    }

    /// Whether products multiply bf16 values where the right side is stored so.
    pub const fn multiplies_bf16<E: Stored>(self) -> bool {
        matches!(self.values, Values::Bf16) && E::AS_BF16
    }

    /// Whether few rows do, too. Not with blocks of more than four bits: putting one line's values in pairs is more work than one row's products save,
    /// and few rows must have the bits of one.
    pub const fn dots_bf16<E: Stored>(self) -> bool {
        self.multiplies_bf16::<E>() && (E::VALUES == 1 || E::NIBBLES.is_some())
    }

    /// What this processor can run, the best registers first.
    pub fn all() -> Vec<Machine> {
        let mut all = Vec::new();
        let mut push = |registers, values| all.push(Machine { registers, values });
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            // Without VL, half of the registers have no lower part to take sums from, and kernels run short of them.
            if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw") {
                    if tiles() == Tiles::Ready {
                        push(Registers::Amx, Values::Bf16);
                    }
                    push(Registers::Avx512, Values::Bf16);
                }
                push(Registers::Avx512, Values::F32);
            }
            if avx2 {
                push(Registers::Avx2, Values::F32);
                push(Registers::Avx2, Values::Bf16);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            push(Registers::Neon, Values::F32);
            push(Registers::Neon, Values::Bf16);
        }
        push(Registers::Portable, Values::F32);
        push(Registers::Portable, Values::Bf16);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_are_known() {
        let parse = |word: &str| word.parse::<Arithmetic>().ok();
        assert_eq!(parse("fastest"), Some(Arithmetic::Fastest));
        assert_eq!(parse(" f32\n"), Some(Arithmetic::F32));
        assert_eq!(parse("bf16"), Some(Arithmetic::Bf16));
        assert_eq!(parse("fp32"), None);
    }

    /// Unless it is asked for, a processor that has no instruction for it does not multiply bf16 values.
    #[test]
    fn every_processor_can_do_both() {
        let all = Machine::all();
        for values in [Values::F32, Values::Bf16] {
            assert!(all.contains(&Machine { registers: Registers::Portable, values }));
        }
        let native = all.iter().find(|machine| machine.is_native()).unwrap();
        assert!(native.values == Values::F32 || native.registers != Registers::Portable);
    }
}
