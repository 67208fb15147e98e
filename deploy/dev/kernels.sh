# Other kernels, to test on, and what boots them. Sourced by lib.sh.

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
