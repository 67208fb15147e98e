//! Compiles the kernel programs (`ebpf/programs`) for the BPF target, whatever toolchain is there.
//!
//! Cargo cannot depend on a binary for another target on stable (rust-lang/cargo#9096), so the programs are built by a
//! cargo of our own. It has a target folder of its own too, because cargo locks the one it is building in
//! (rust-lang/cargo#6412).
//!
//! Two toolchains are known, and the first that is there is taken:
//! - a compiler that comes with a core library for the BPF target, as Debian's `rustc-web` with
//!   `libstd-rust-web-dev-bpf` does;
//! - rustup's nightly with `rust-src`, which builds the core library.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

const PACKAGE: &str = "podwitness-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const HOW_TO_GET_IT: &str = "run deploy/dev/setup, which installs what the build needs";

fn main() -> Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    for part in ["packet", "programs", "wire"].map(|name| root.join("ebpf").join(name)) {
        // Not the tests beside the source, nor what fuzzing leaves there.
        for name in ["Cargo.toml", "src"] {
            println!("cargo:rerun-if-changed={}", part.join(name).display());
        }
    }
    println!("cargo:rerun-if-changed={}", root.join("Cargo.lock").display());
    for variable in ["PATH", "PODWITNESS_CACHE"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    ensure!(
        env::var("CARGO_CFG_TARGET_ENDIAN")? == "little",
        "the kernel programs are built for little-endian machines alone"
    );
    let linker = find_linker()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let object = build(&root, &linker, &out.join("bpf"))?;
    let bytes = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    fs::write(out.join("podwitness-ebpf.o"), &bytes)?;
    let digest = Sha256::digest(&bytes);
    println!("cargo:rustc-env=PODWITNESS_EBPF_SHA256={digest:x}");
    Ok(())
}

/// bpf-linker, from the path or from where the set-up script puts it.
fn find_linker() -> Result<PathBuf> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let cache = env::var_os("PODWITNESS_CACHE").map(PathBuf::from).or_else(|| {
        let base = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
        Some(base.join("podwitness"))
    });
    on_path
        .into_iter()
        .chain(cache.map(|cache| cache.join("tools/bin")))
        .map(|folder| folder.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("bpf-linker is neither on the path nor in the cache: {HOW_TO_GET_IT}"))
}

fn build(root: &Path, linker: &Path, target_folder: &Path) -> Result<PathBuf> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    let mut command = match toolchain()? {
        Toolchain::WithBpfCore(rustc) => {
            let mut command = Command::new(env::var_os("CARGO").context("cargo does not say where it is")?);
            // Features that are not stable (inline assembly for BPF) are asked for by a compiler that is.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").arg("build");
            command
        }
        Toolchain::Nightly => {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "cargo", "build", "-Z", "build-std=core"]).env_remove("RUSTC");
            command
        }
    };
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        format!("-Clinker={}", linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Version 3 of the instruction set has 32-bit registers and the atomic operations (Linux 5.12).
        "-Ctarget-cpu=v3".to_owned(),
        // The object's hash says what was built, not where.
        format!("--remap-path-prefix={}=.", root.display()),
    ];
    command
        .args(["--release", "--locked", "--package", PACKAGE, "--target", TARGET, "--target-dir"])
        .arg(target_folder)
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS");
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("the kernel programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(target_folder.join(TARGET).join("release").join(PACKAGE))
}

enum Toolchain {
    WithBpfCore(OsString),
    Nightly,
}

fn toolchain() -> Result<Toolchain> {
    let rustc = OsString::from("/usr/bin/rustc");
    if has_bpf_core(&rustc) {
        return Ok(Toolchain::WithBpfCore(rustc));
    }
    let sysroot = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output();
    if let Ok(output) = sysroot {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return Ok(Toolchain::Nightly);
        }
    }
    bail!(
        "no compiler for the BPF target: neither Debian's rustc-web with libstd-rust-web-dev-bpf nor rustup's nightly \
         with rust-src is there; {HOW_TO_GET_IT}"
    )
}

/// Whether a compiler has a core library for the BPF target.
fn has_bpf_core(rustc: &OsString) -> bool {
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(output) = output else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}
