# The compilers: cargo, the one for the BPF target, and the linker of what that makes. Sourced by lib.sh.

# The oldest cargo that works, and the one version of the linker that was tried, with the LLVM that it can be linked with.
CARGO_OLDEST=1.90
LINKER_VERSION=0.13.0
LINKER_LLVM_VERSIONS='21 22 23'

# require_cargo: cargo is not installed by this script, because where it comes from is its user's choice.
require_cargo() {
    local version
    command -v cargo >/dev/null ||
        fail "cargo is not there: install Rust $CARGO_OLDEST or newer for this user (https://rustup.rs) and run this again"
    version=$(cargo --version | cut -d ' ' -f 2)
    at_least "$version" "$CARGO_OLDEST" ||
        fail "cargo $version is too old: Rust $CARGO_OLDEST or newer is needed (with rustup: rustup update stable)"
}

# require_checkers: what `make lint` needs of the same Rust.
require_checkers() {
    local component
    for component in clippy fmt; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || fail "cargo $component is not there: install it from where your cargo comes"
        say "adding cargo $component"
        rustup component add "${component/#fmt/rustfmt}"
    done
}

# llvm_major: the major version of LLVM in the output of `rustc -vV` on standard input.
llvm_major() {
    sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'
}

# has_bpf_core RUSTC: whether the compiler has a core library for the BPF target, as Debian's has.
has_bpf_core() {
    local folder
    folder=$("$1" --print target-libdir --target bpfel-unknown-none 2>/dev/null) || return 1
    compgen -G "$folder/libcore-*.rlib" >/dev/null
}

# nightly_sysroot: where rustup keeps the nightly compiler; fails where there is none.
nightly_sysroot() {
    command -v rustup >/dev/null && rustup run nightly rustc --print sysroot 2>/dev/null
}

# has_nightly_source: whether nightly can build the core library.
has_nightly_source() {
    local sysroot
    sysroot=$(nightly_sysroot) && [ -d "$sysroot/lib/rustlib/src/rust/library/core" ]
}

# bpf_compiler: `debian` or `nightly`, the same that ebpf/object/build.rs will take; fails where neither is there.
bpf_compiler() {
    if has_bpf_core /usr/bin/rustc; then
        echo debian
    elif has_nightly_source; then
        echo nightly
    else
        return 1
    fi
}

# require_bpf_compiler OS_RELEASE_FILE
require_bpf_compiler() {
    bpf_compiler >/dev/null && return
    if is_known_system "$1" && distribution_has_bpf_compiler; then
        install_packages rustc-web libstd-rust-web-dev-bpf
    elif command -v rustup >/dev/null; then
        say 'installing the nightly compiler with its sources, which builds the kernel programs (rustup; a minute or so)'
        rustup toolchain install nightly --profile minimal --component rust-src ||
            fail 'rustup cannot install nightly with rust-src, see above'
    fi
    bpf_compiler >/dev/null ||
        fail 'no compiler for the BPF target: install rustup (https://rustup.rs) and run this again; it then adds nightly with rust-src'
}

# distribution_has_bpf_compiler: whether Debian's compiler can be had here, new enough and without removing anything.
distribution_has_bpf_compiler() {
    apt-get update -qq || fail 'apt-get update failed, see above'
    local version
    version=$(apt-cache policy libstd-rust-web-dev-bpf | sed -n 's/^ *Candidate: //p')
    [ -n "$version" ] && [ "$version" != '(none)' ] && at_least "$version" "$CARGO_OLDEST" &&
        apt-get install --simulate --no-remove rustc-web libstd-rust-web-dev-bpf >/dev/null 2>&1
}

# linker_is_built TOOLS_FOLDER LLVM_MAJOR: whether ours is there, runs, and reads what this version of LLVM writes.
linker_is_built() {
    "$1/bin/bpf-linker" --version >/dev/null 2>&1 || return 1
    grep --quiet "\"bpf-linker $LINKER_VERSION .*\"llvm-$2\"" "$1/.crates2.json"
}

# require_linker TOOLS_FOLDER: bpf-linker must be linked with the LLVM whose bitcode it is to read.
require_linker() {
    local tools=$1 llvm prefix sysroot
    if command -v bpf-linker >/dev/null && [ "$(command -v bpf-linker)" != "$tools/bin/bpf-linker" ]; then
        return # somebody has chosen one
    fi
    case "$(bpf_compiler)" in
        debian)
            llvm=$(/usr/bin/rustc -vV | llvm_major)
            prefix=/usr/lib/llvm-$llvm
            ;;
        nightly)
            sysroot=$(nightly_sysroot)
            llvm=$("$sysroot/bin/rustc" -vV | llvm_major)
            prefix=$tools/llvm
            ;;
    esac
    linker_is_built "$tools" "$llvm" && return
    case " $LINKER_LLVM_VERSIONS " in
        *" $llvm "*) ;;
        *) fail "the compiler for the BPF target has LLVM $llvm, and bpf-linker $LINKER_VERSION works with LLVM ${LINKER_LLVM_VERSIONS// /, }: install a bpf-linker that fits on the PATH" ;;
    esac
    if [ "$prefix" = "$tools/llvm" ]; then
        link_rustup_llvm "$sysroot" "$prefix"
    else
        install_packages "llvm-$llvm-dev" "libpolly-$llvm-dev" libzstd-dev zlib1g-dev
    fi
    say "building bpf-linker $LINKER_VERSION with LLVM $llvm (about two minutes, once)"
    env PATH="$PATH:$tools/bin" LLVM_PREFIX="$prefix" "LLVM_SYS_${llvm}1_PREFIX=$prefix" \
        cargo install bpf-linker --locked --force --version "$LINKER_VERSION" \
        --no-default-features --features "llvm-$llvm" --root "$tools" ||
        fail "bpf-linker $LINKER_VERSION does not build, see above"
    linker_is_built "$tools" "$llvm" || fail "$tools/bin/bpf-linker was built and does not run"
}

# link_rustup_llvm SYSROOT PREFIX: makes a folder from which bpf-linker links the LLVM that rustup's compiler brings.
# Both names are needed: the first to link with, the second, its soname, to run with.
link_rustup_llvm() {
    local library
    library=$(compgen -G "$1/lib/libLLVM.so.*") ||
        fail "rustup's nightly brings no LLVM library to link with on $(uname -m): put a released bpf-linker $LINKER_VERSION on the PATH (cargo binstall bpf-linker@$LINKER_VERSION) and run this again"
    rm -rf "$2"
    mkdir -p "$2/lib"
    ln -s "$library" "$2/lib/libLLVM.so"
    ln -s "$library" "$2/lib/${library##*/}"
}
