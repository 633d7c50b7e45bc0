//! The declarations of the calls are written while this crate is compiled: it must be compiled anew when @napi-rs/cli asks for them.

#[allow(clippy::print_stdout)] // cargo reads it
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NAPI_TYPE_DEF_TMP_FOLDER");
    println!("cargo::rerun-if-env-changed=NAPI_FORCE_BUILD_ANONNET_CALLS");
}
