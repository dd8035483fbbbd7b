//! Says whether the embedded base's files are there (`cfg(embedded_base)`), so that the example which makes them can
//! be compiled before they exist.

use std::path::Path;

const FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(embedded_base)");
    // The folder itself is watched too: it may not exist yet.
    println!("cargo::rerun-if-changed=embedded");
    if FILES.iter().all(|file| Path::new("embedded").join(file).is_file()) {
        println!("cargo::rustc-cfg=embedded_base");
    }
}
