//! Packs the committed kernel program, of which a ninth is left then, for the program to carry.

use std::path::Path;
use std::{env, fs};

const OBJECT: &str = "bpf/tcpstate.bpf.o";
/// The library's strongest.
const LEVEL: i32 = 22;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={OBJECT}");
    let object = fs::read(OBJECT).expect("the kernel program is committed");
    let packed = zstd::bulk::compress(&object, LEVEL).expect("it is packed in memory");
    let out = env::var_os("OUT_DIR").expect("cargo says where to");
    fs::write(Path::new(&out).join("tcpstate.bpf.o.zst"), packed).expect("there is room for it");
    println!("cargo::rustc-env=TCPSTATE_BPF_SIZE={}", object.len());
}
