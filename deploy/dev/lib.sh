# The parts of deploy/dev/setup that deploy/dev/test checks one by one. Sourced, never run. Here is what each of the rooms that
# are sourced at the end needs, and what the tests need beside them.
#
# What depends on the machine comes in as an argument, so that a test can stand in for another machine. `fail` ends
# with exit code 2: the question could not be answered.

GATEWAY_VERSION=1.8.0
# From this one on, Go gets the newer one that a module asks for by itself.
GO_OLDEST=1.21

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

for room in toolchain cluster kernels machine; do
    # shellcheck disable=SC1090
    . "$(dirname "${BASH_SOURCE[0]}")/$room.sh"
done
unset room
