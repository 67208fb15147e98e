# The parts of deploy/dev/setup that deploy/dev/test checks one by one. Sourced, never run.
#
# What depends on the machine comes in as an argument, so that a test can stand in for another machine. `fail` ends
# with exit code 2: the question could not be answered.

# The oldest versions that work, and the one version of the linker that was tried.
CARGO_OLDEST=1.90
KERNEL_OLDEST=6.1
LINKER_VERSION=0.13.0
GATEWAY_VERSION=1.8.0
# From this one on, Go gets the newer one that a module asks for by itself.
GO_OLDEST=1.21
HELM_VERSION=3.22.0
LINKER_LLVM_VERSIONS='21 22 23'

say() {
    printf 'setup: %s\n' "$*" >&2
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

# cache_folder: where everything goes that is not a package of the system.
cache_folder() {
    printf '%s\n' "${PODWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/podwitness}"
}

# require_root UID
require_root() {
    [ "$1" -eq 0 ] || fail 'run this as root (for example with sudo): it installs packages, and the demo and the tests load programs into the kernel and make network namespaces'
}

# at_least VERSION OLDEST
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1)" = "$2" ]
}

# is_known_system OS_RELEASE_FILE: whether packages are installed by themselves there.
is_known_system() {
    [ -r "$1" ] || return 1
    (
        ID='' VERSION_ID=''
        # shellcheck disable=SC1090
        . "$1"
        case "$ID" in
            debian) at_least "${VERSION_ID:-0}" 12 ;;
            ubuntu) at_least "${VERSION_ID:-0}" 24.04 ;;
            *) false ;;
        esac
    )
}

# system_name OS_RELEASE_FILE
system_name() {
    (
        PRETTY_NAME='this system'
        # shellcheck disable=SC1090
        if [ -r "$1" ]; then . "$1"; fi
        printf '%s\n' "$PRETTY_NAME"
    )
}

# missing_tools: the names of the tools that are not there, one a line, as package_of knows them.
missing_tools() {
    local tool
    for tool in cc make git ip nft unshare python3; do
        command -v "$tool" >/dev/null || printf '%s\n' "$tool"
    done
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki/tls/certs ] || printf '%s\n' ca-certificates
}

# package_of TOOL: the Debian packages that bring it.
package_of() {
    case "$1" in
        cc) echo build-essential ;;
        ip) echo iproute2 ;;
        nft) echo nftables ;;
        unshare) echo util-linux ;;
        python3) echo python3 python3-venv ;;
        go) echo golang-go ;;
        *) echo "$1" ;;
    esac
}

# require_tools OS_RELEASE_FILE TOOL...: installs the missing tools, or says what to install.
require_tools() {
    local os_release=$1 packages=() tool
    shift
    [ $# -gt 0 ] || return 0
    if ! is_known_system "$os_release"; then
        fail "$(system_name "$os_release") is not a system on which this script can install packages (Debian 12 or newer, Ubuntu 24.04 or newer); install these yourself and run it again: $*"
    fi
    for tool in "$@"; do
        # shellcheck disable=SC2207
        packages+=($(package_of "$tool"))
    done
    install_packages "${packages[@]}"
}

# install_packages PACKAGE...
install_packages() {
    say "installing the packages $* (apt; a minute or so)"
    apt-get update -qq || fail 'apt-get update failed, see above'
    # Nothing of the machine's owner is removed to make room.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "$@" >&2 ||
        fail "apt cannot install $*, see above"
}

# require_cargo: cargo is not installed by this script, because where it comes from is its user's choice.
require_cargo() {
    local version component
    command -v cargo >/dev/null ||
        fail "cargo is not there: install Rust $CARGO_OLDEST or newer for this user (https://rustup.rs) and run this again"
    version=$(cargo --version | cut -d ' ' -f 2)
    at_least "$version" "$CARGO_OLDEST" ||
        fail "cargo $version is too old: Rust $CARGO_OLDEST or newer is needed (with rustup: rustup update stable)"
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

# require_python OS_RELEASE_FILE CACHE REQUIREMENTS: a Python environment with exactly what the requirements pin, and
# its DuckDB in the cache's bin, where it can be put on the path without the environment's Python.
require_python() {
    local folder=$2/python bin=$2/bin requirements=$3
    if cmp --silent "$requirements" "$folder/requirements.txt" && "$bin/duckdb" --version >/dev/null 2>&1; then
        return
    fi
    # Debian ships Python without what makes an environment.
    python3 -c 'import ensurepip, venv' 2>/dev/null || require_tools "$1" python3-venv
    say 'installing DuckDB and what auditor/verify.py needs into an environment of their own (pip; half a minute)'
    python3 -m venv --clear "$folder" || fail "python3 cannot make an environment in $folder, see above"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" ||
        fail "pip cannot install what $requirements names, see above"
    mkdir -p "$bin"
    ln --symbolic --force --no-target-directory "$folder/bin/duckdb" "$bin/duckdb"
    cp "$requirements" "$folder/requirements.txt"
}

# gateway_is_built CACHE: whether the S3 server of the tests is there, in the version that they know.
gateway_is_built() {
    [ -x "$1/bin/versitygw" ] && [ "$(cat "$1/versitygw.version" 2>/dev/null)" = "$GATEWAY_VERSION" ]
}

# require_go OS_RELEASE_FILE WHAT: a Go that can build it.
require_go() {
    local version
    command -v go >/dev/null || require_tools "$1" go
    version=$(go env GOVERSION)
    at_least "${version#go}" "$GO_OLDEST" ||
        fail "${version/#go/Go } is too old to build $2: Go $GO_OLDEST or newer is needed on the PATH"
}

# require_gateway OS_RELEASE_FILE CACHE: versitygw, a real S3 server, for the tests alone.
require_gateway() {
    gateway_is_built "$2" && return
    require_go "$1" 'versitygw, the S3 server of the tests'
    say "building versitygw $GATEWAY_VERSION, the S3 server of the tests (a minute or two, once)"
    mkdir -p "$2/bin"
    GOBIN=$2/bin go install "github.com/versity/versitygw/cmd/versitygw@v$GATEWAY_VERSION" >&2 ||
        fail "versitygw $GATEWAY_VERSION does not build, see above"
    printf '%s\n' "$GATEWAY_VERSION" >"$2/versitygw.version"
}

# kubernetes_folder CACHE: where the programs of a real Kubernetes are, for tests/cluster.
kubernetes_folder() {
    printf '%s/kubernetes\n' "$1"
}

# kubernetes_version SOURCE: what its go.mod names.
kubernetes_version() {
    sed -n 's/^\tk8s.io\/kubernetes \(v[^ ]*\).*/\1/p' "$1/go.mod"
}

# kubernetes_is_built FOLDER SOURCE: whether all programs are those that the module in SOURCE pins.
kubernetes_is_built() {
    [ -e "$1/go.mod" ] && cmp --silent "$2/go.mod" "$1/go.mod" && cmp --silent "$2/go.sum" "$1/go.sum"
}

# require_kubernetes OS_RELEASE_FILE FOLDER SOURCE: the programs that go.mod in SOURCE names as its tools.
require_kubernetes() {
    local version flags package
    kubernetes_is_built "$2" "$3" && return
    require_go "$1" Kubernetes
    version=$(kubernetes_version "$3")
    say "building Kubernetes $version, for tests/cluster (ten minutes of two processors, once)"
    flags='-s -w'
    # Without these it says that it is version 0.0.0, which clients go by.
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$version -X $package.gitTreeState=clean"
        flags+=" -X $package.gitMajor=$(cut -d . -f 1 <<<"${version#v}") -X $package.gitMinor=$(cut -d . -f 2 <<<"$version")"
    done
    mkdir -p "$2/bin"
    rm -f "$2/go.mod" "$2/go.sum"
    (cd "$3" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -ldflags "$flags" -o "$2/bin/" tool >&2) ||
        fail "Kubernetes $version does not build, see above"
    cp "$3/go.mod" "$3/go.sum" "$2/"
}

# helm_is_built FOLDER
helm_is_built() {
    [ -x "$1/bin/helm" ] && [ "$(cat "$1/helm.version" 2>/dev/null)" = "$HELM_VERSION" ]
}

# require_helm OS_RELEASE_FILE FOLDER
require_helm() {
    helm_is_built "$2" && return
    require_go "$1" Helm
    say "building Helm $HELM_VERSION (two minutes, once)"
    mkdir -p "$2/bin"
    CGO_ENABLED=0 GOBIN=$2/bin go install -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$HELM_VERSION" \
        "helm.sh/helm/v3/cmd/helm@v$HELM_VERSION" >&2 || fail "Helm $HELM_VERSION does not build, see above"
    printf '%s\n' "$HELM_VERSION" >"$2/helm.version"
}

# The packages of Debian and Ubuntu that a cluster and the tests of the chart (promtool) need. They are unpacked and not installed: installed, they would start
# services, and containerd would take the place of Docker's.
CLUSTER_PACKAGES='etcd-server containerd runc containernetworking-plugins busybox-static prometheus'

# packages_are_unpacked FOLDER
packages_are_unpacked() {
    [ "$(cat "$1/packages/names" 2>/dev/null)" = "$CLUSTER_PACKAGES" ]
}

# require_packages_unpacked OS_RELEASE_FILE FOLDER
require_packages_unpacked() {
    local work=$2/packages.new package
    packages_are_unpacked "$2" && return
    is_known_system "$1" ||
        fail "$(system_name "$1") has no packages that this script knows: unpack etcd, containerd, runc, the CNI plugins, promtool and a static busybox into $2/packages as Debian's are (usr/bin, usr/sbin, usr/lib/cni, bin), write '$CLUSTER_PACKAGES' into $2/packages/names and run this again"
    say "getting $CLUSTER_PACKAGES (apt; half a minute)"
    apt-get update -qq || fail 'apt-get update failed, see above'
    rm -rf "$work" "$2/packages"
    mkdir -p "$work"
    # shellcheck disable=SC2086
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root $CLUSTER_PACKAGES >&2) ||
        fail "apt cannot download $CLUSTER_PACKAGES, see above"
    for package in "$work"/*.deb; do
        dpkg-deb -x "$package" "$work" || fail "$package cannot be unpacked, see above"
        rm "$package"
    done
    printf '%s\n' "$CLUSTER_PACKAGES" >"$work/names"
    mv "$work" "$2/packages"
}

# static_busybox FOLDER: that of the packages.
static_busybox() {
    find "$1/packages" -type f -name busybox -perm -100
}

# images_are_made FOLDER
images_are_made() {
    [ -e "$1/images/go.sum" ] && cmp --silent "$1/go.sum" "$1/images/go.sum"
}

# require_images FOLDER SOURCE: the two images that a cluster has, made without a registry: the one that holds a pod's
# namespaces, and the one with which Kubernetes' own tests make traffic.
require_images() {
    local work=$1/images.new source
    images_are_made "$1" && return
    rm -rf "$work" "$1/images"
    mkdir -p "$work/pause" "$work/traffic/bin"
    source=$(cd "$2" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
    cc -Os -static -DVERSION=podwitness -o "$work/pause/pause" "$source/build/pause/linux/pause.c" ||
        fail 'the pause program does not build, see above'
    cp "$1/bin/agnhost" "$work/traffic/agnhost"
    cp "$(static_busybox "$1")" "$work/traffic/bin/busybox"
    "$work/traffic/bin/busybox" --list | while read -r source; do
        [ "$source" = busybox ] || ln -s busybox "$work/traffic/bin/$source"
    done
    python3 "$2/pack.py" podwitness.test/pause:1 "$work/pause" "$work/pause.tar" '{"Entrypoint": ["/pause"]}'
    python3 "$2/pack.py" podwitness.test/traffic:1 "$work/traffic" "$work/traffic.tar" \
        '{"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "Env": ["PATH=/bin:/"]}'
    rm -rf "$work/pause" "$work/traffic"
    cp "$1/go.sum" "$work/go.sum"
    mv "$work" "$1/images"
}

# kernel_folder SERIES: where Debian's cloud kernel of a series (such as 6.1) is unpacked.
kernel_folder() {
    printf '%s/kernels/%s\n' "$(cache_folder)" "$1"
}

# require_kernel SERIES: for who boots it.
require_kernel() {
    local tool
    compgen -G "$(kernel_folder "$1")/boot/vmlinuz-$1.*" >/dev/null ||
        fail "Linux $1 is not there to be booted: run deploy/dev/setup --kernels, or unpack Debian's linux-image-$1.*-cloud-amd64 into $(kernel_folder "$1") (dpkg-deb -x)"
    for tool in qemu-system-x86_64 busybox strip; do
        command -v "$tool" >/dev/null || fail "$tool is not there: run deploy/dev/setup --kernels"
    done
}

# newest_kernel SERIES: the newest package of the series among the names on standard input.
newest_kernel() {
    grep --extended-regexp "^linux-image-${1//./\\.}\.[0-9][^ ]*[0-9]-cloud-amd64\$" | sort --version-sort | tail -n 1
}

# get_kernel SERIES: unpacks Debian's cloud kernel, which is not installed; the modules and the kernel are all that is kept.
get_kernel() {
    local folder package work
    folder=$(kernel_folder "$1")
    compgen -G "$folder/boot/vmlinuz-$1.*" >/dev/null && return
    apt-get update -qq || fail 'apt-get update failed, see above'
    package=$(apt-cache pkgnames linux-image-"$1" | newest_kernel "$1")
    [ -n "$package" ] ||
        fail "apt knows no linux-image-$1.*-cloud-amd64 here: unpack one of Debian 12 into $folder (dpkg-deb -x)"
    say "getting $package, to test on (apt; half a minute)"
    work=$folder.new
    rm -rf "$work" "$folder"
    mkdir -p "$work/package"
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package" >&2) || fail "apt cannot download $package, see above"
    dpkg-deb -x "$work"/*.deb "$work/package" || fail "$package cannot be unpacked, see above"
    mv "$work/package" "$folder"
    rm -rf "$work"
}

# require_kernels OS_RELEASE_FILE SERIES...: other kernels to test on, and what boots them.
require_kernels() {
    local os_release=$1 packages=() series
    shift
    [ $# -gt 0 ] || return 0
    command -v qemu-system-x86_64 >/dev/null || packages+=(qemu-system-x86)
    command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 || packages+=(busybox-static)
    command -v strip >/dev/null || packages+=(binutils)
    if [ "${#packages[@]}" -gt 0 ]; then
        is_known_system "$os_release" || fail "install these yourself and run it again: ${packages[*]}"
        install_packages "${packages[@]}"
    fi
    for series in "$@"; do
        get_kernel "$series"
    done
}

# What the machine lacks. Each prints one sentence and fails, or prints nothing.

# check_kernel RELEASE: as `uname -r` says it.
check_kernel() {
    at_least "$1" "$KERNEL_OLDEST" || {
        echo "the kernel $1 is too old: $KERNEL_OLDEST is the oldest on which the programs are tested"
        return 1
    }
}

# check_btf FILE
check_btf() {
    [ -r "$1" ] || {
        echo "the kernel has no BTF ($1 is not there): boot one that was built with CONFIG_DEBUG_INFO_BTF"
        return 1
    }
}

# check_bpffs FILE: the kernel's list of file systems.
check_bpffs() {
    grep --quiet --word-regexp bpf "$1" || {
        echo "the kernel has no BPF file system ($1 does not name it): boot one that was built with CONFIG_BPF_SYSCALL"
        return 1
    }
}

# check_bpf RESULT: as try_bpf says it.
check_bpf() {
    case "$1" in
        ok) return 0 ;;
        ENOSYS) echo 'the kernel has no BPF system call: boot one that was built with CONFIG_BPF_SYSCALL' ;;
        EPERM) echo 'the BPF system call is forbidden to this process: a container needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and a seccomp profile that lets bpf pass' ;;
        *) echo "the BPF system call does not work here: it ends with $1" ;;
    esac
    return 1
}

# try_bpf: makes the smallest BPF map there is, and prints `ok` or the name of the error.
try_bpf() {
    python3 - <<'PYTHON'
import ctypes, errno, os, platform, struct
number = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 280)
BPF_MAP_CREATE, BPF_MAP_TYPE_ARRAY = 0, 2
attributes = struct.pack("=IIII", BPF_MAP_TYPE_ARRAY, 4, 4, 1).ljust(128, b"\0")
libc = ctypes.CDLL(None, use_errno=True)
descriptor = libc.syscall(number, BPF_MAP_CREATE, ctypes.c_char_p(attributes), len(attributes))
print("ok" if descriptor >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()))
PYTHON
}

# check_namespaces COMMAND...: the command that makes them.
check_namespaces() {
    "$@" true 2>/dev/null || {
        echo 'network and mount namespaces cannot be made here: a container needs CAP_SYS_ADMIN and a seccomp profile that lets unshare pass'
        return 1
    }
}

# check_machine: says everything that is lacking, and fails if anything is.
check_machine() {
    local lacking=0
    check_kernel "$(uname -r)" || lacking=1
    check_btf /sys/kernel/btf/vmlinux || lacking=1
    check_bpffs /proc/filesystems || lacking=1
    check_bpf "$(try_bpf)" || lacking=1
    check_namespaces unshare --net --mount --propagation private || lacking=1
    return "$lacking"
}
