# A real Kubernetes, for tests/cluster: its programs, packages that are unpacked and not installed, and images. Sourced by lib.sh.

HELM_VERSION=3.22.0

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
