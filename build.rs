fn main() {
    napi_build::setup();
    name_on_macos();
}

/// On macOS a library without a name of its own is called by the path that it was linked at, on the machine that built it.
#[allow(clippy::print_stdout)] // cargo reads it
fn name_on_macos() {
    if std::env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/anonnet.node");
    }
}
