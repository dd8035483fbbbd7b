//! `cargo run --release -p hotplate-gemm --example rates`: billions of multiply-adds a second for each kernel, on all threads.

#![expect(clippy::print_stdout, reason = "figures are the result")]

use std::time::Duration;

use hotplate_gemm::Machine;
use hotplate_gemm::measure::{Right, rate};

fn main() {
    let only: Option<String> = std::env::args().nth(1);
    for right in [Right::Bf16, Right::Bf16Back, Right::F32, Right::Q8, Right::Q4] {
        for shape in [
            (512, 576, 1536),
            (512, 1536, 576),
            (512, 576, 576),
            (512, 576, 192),
            (256, 64, 256),
            (512, 576, 16),
            (256, 896, 4864),
            (512, 768, 768),
            (512, 1536, 960),
            (64, 576, 1536),
            (32, 576, 1536),
            (24, 576, 1536),
            (8, 576, 1536),
            (1, 576, 1536),
        ] {
            print!("{right:?} {shape:?}:");
            for machine in Machine::all() {
                if only.as_ref().is_some_and(|only| !format!("{machine:?}").contains(only.as_str())) {
                    continue;
                }
                print!(
                    "  {:?}/{:?} {:.1}",
                    machine.registers(),
                    machine.values(),
                    rate(machine, shape, right, Duration::from_millis(40))
                );
            }
            println!();
        }
    }
}
