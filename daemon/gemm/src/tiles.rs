//! Whether this process may use the tile registers of x86-64 (AMX). It must not know what is multiplied in them.
//!
//! A flag of the processor is not enough: the operating system has to save the registers, a process has to ask for them, and a hypervisor may show the flag and
//! then refuse.

use std::sync::OnceLock;

/// What came of asking for the tile registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiles {
    /// They were asked for, granted and tried.
    Ready,
    /// The processor has none that multiply bf16, or this operating system saves none.
    Absent,
    /// The operating system refuses them to this process.
    Refused,
    /// They were granted; a child process that multiplied two of them came to a wrong sum or to a bad end.
    Failed,
}

/// What came of it, asked for once.
pub fn tiles() -> Tiles {
    static TILES: OnceLock<Tiles> = OnceLock::new();
    *TILES.get_or_init(host::ask)
}

/// Whether the processor of now says so, too. Cheap: nothing is tried.
pub(crate) fn are_still_here() -> bool {
    host::asked() == Tiles::Ready
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    use super::Tiles;
    use crate::amx;

    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    /// Of the state that a process has to ask for, the tiles' contents.
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    const XTILE: u64 = 0b11 << 17;

    pub(super) fn ask() -> Tiles {
        match asked() {
            Tiles::Ready if !a_child_succeeds() => Tiles::Failed,
            asked => asked,
        }
    }

    /// Asks the processor, and then the kernel ("Using XSTATE features in user space applications" in its documentation).
    #[expect(unsafe_code, reason = "a system call that no library wraps")]
    pub(super) fn asked() -> Tiles {
        const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
        const OSXSAVE: u32 = 1 << 27;
        let has = __cpuid(0).eax >= 7
            && __cpuid(1).ecx & OSXSAVE != 0
            && __cpuid_count(7, 0).edx & BF16_AND_TILES == BF16_AND_TILES;
        // SAFETY: the processor has just said that XGETBV is there.
        if !has || unsafe { saved() } & XTILE != XTILE {
            return Tiles::Absent;
        }
        // SAFETY: the call takes two numbers and changes only what this process may do.
        match unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) } {
            0 => Tiles::Ready,
            _ => Tiles::Refused,
        }
    }

    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        #[expect(unsafe_code, reason = "a register that user code may read")]
        // SAFETY: register 0 is always there.
        unsafe {
            _xgetbv(0)
        }
    }

    /// Whether a child process multiplied two tiles and came to the right sum: a machine that grants tiles and then stumbles over them must not end this
    /// process.
    #[expect(unsafe_code, reason = "a fork that runs nothing but numbers")]
    fn a_child_succeeds() -> bool {
        let mut trial = amx::Trial::new();
        // SAFETY: the child touches memory that is there already, calls no allocator and no lock, and ends by `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                for signal in [libc::SIGILL, libc::SIGSEGV, libc::SIGBUS] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                libc::_exit(i32::from(!trial.succeeds()));
            }
            if child < 0 {
                return false;
            }
            let mut status = 0;
            while libc::waitpid(child, &raw mut status, 0) < 0 {
                if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                    return false;
                }
            }
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod host {
    use super::Tiles;

    /// Elsewhere nobody is asked, because nobody has tried it there.
    pub(super) const fn ask() -> Tiles {
        Tiles::Absent
    }

    pub(super) const fn asked() -> Tiles {
        Tiles::Absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, Values};

    #[test]
    fn kernels_with_tiles_are_there_where_they_are_ready() {
        let first = Machine::all()[0];
        assert_eq!(first.to_string() == "amx/bf16", tiles() == Tiles::Ready);
        assert!(tiles() != Tiles::Ready || first.values == Values::Bf16 && are_still_here());
    }
}
