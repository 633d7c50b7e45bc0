use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    napi_build::setup();
    name_on_macos();
    export_on_windows();
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if links_with_lld() {
        // Functions that came out the same are there once: 38 KB. Nothing here compares functions by address.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--icf=all");
    }
}

/// Whether the compiler brings the linker lld and takes it by itself, and nobody chose another one. Distributions' compilers take the system's.
fn links_with_lld() -> bool {
    let target = "x86_64-unknown-linux-gnu";
    let chosen = env::var("CARGO_ENCODED_RUSTFLAGS")
        .is_ok_and(|flags| flags.contains("linker=") || flags.contains("fuse-ld") || flags.contains("link-self-contained"));
    if env::var("TARGET").as_deref() != Ok(target) || env::var_os("RUSTC_LINKER").is_some() || chosen {
        return false;
    }
    let Some(compiler) = env::var_os("RUSTC") else { return false };
    let Ok(told) = Command::new(compiler).args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&told.stdout);
    Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(target)
        .join("bin/gcc-ld/ld.lld")
        .exists()
}

/// On macOS a library without a name of its own is called by the path that it was linked at, on the machine that built it.
#[allow(clippy::print_stdout)] // cargo reads it
fn name_on_macos() {
    if env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/anonnet.node");
    }
}

/// Releases are linked for Windows with zig and GNU's names, without the list of exports that rustc makes: everything would be exported.
fn export_on_windows() {
    let (target, folder) = (env::var("TARGET"), env::var_os("OUT_DIR"));
    if target.as_deref() != Ok("x86_64-pc-windows-gnu") {
        return;
    }
    let Some(folder) = folder else { return };
    let list = Path::new(&folder).join("exports.def");
    if fs::write(&list, "EXPORTS\n    napi_register_module_v1\n").is_ok() {
        println!("cargo::rustc-cdylib-link-arg={}", list.display());
    }
}
