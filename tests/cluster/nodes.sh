# How a node of a cluster is started, by tests/cluster/up and tests/cluster/node. Sourced after lib.sh.

# begin_node NODE [SIZE]: starts the node with its container runtime, which needs no control plane. With a size its kubelet has a
# disk of its own, until the node ends.
begin_node() {
    local home=$cluster/nodes/$1
    node_number "$1" >/dev/null
    [ ! -e "$home/pid" ] || fail "$1 runs already"
    mkdir -p "$home" "$cluster/log/$1"
    rm -rf "$home/made" "$home/run" "$home/disk"
    [ -z "${2-}" ] || printf '%s\n' "$2" >"$home/disk"
    inside "$here/inside/hold-node" "$cluster" "$1"
}

# join_node NODE: gives it the images and starts what talks to the control plane, which must be ready.
join_node() {
    local log=$cluster/log/$1 image
    wait_for "$1 being made" "$log/node.log" test -e "$cluster/nodes/$1/made"
    wait_for "the container runtime of $1" "$log/containerd.log" inside_node "$1" ctr version
    for image in "$tools"/images/*.tar "$cluster"/images/*.tar; do
        [ ! -e "$image" ] || import_image "$1" "$image"
    done
    inside_node "$1" "$here/inside/program" start "$cluster" "$1" kubelet
    inside_node "$1" "$here/inside/program" start "$cluster" "$1" kube-proxy
}

# await_node NODE: until it says that it is ready, and its kube-proxy too.
await_node() {
    wait_for "$1 being ready" "$cluster/log/$1/kubelet.log" node_is_ready "$1"
    wait_for "kube-proxy of $1" "$cluster/log/$1/kube-proxy.log" \
        inside_node "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/10256 && printf "GET /healthz HTTP/1.0\r\n\r\n" >&3 && grep -q " 200 " <&3'
}

node_is_ready() {
    [ "$(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}

# import_image NODE ARCHIVE
import_image() {
    inside_node "$1" ctr --namespace k8s.io images import "$2" >>"$cluster/log/$1/images.log" 2>&1 ||
        fail "the image in $2 cannot be imported into $1: see $cluster/log/$1/images.log"
}

# end_node NODE: as if its power were cut.
end_node() {
    local home=$cluster/nodes/$1
    [ -e "$home/pid" ] || fail "$1 does not run"
    # Its network device, and with it the other end on the bridge, goes with its namespace.
    inside kill -KILL "$(cat "$home/pid")"
    rm -rf "$home/pid" "$home/run" "$home/made"
    remove_cgroups "$(cgroup_of "$cluster")/$1"
    while inside ip link show "$1" >/dev/null 2>&1; do sleep 0.05; done
}
