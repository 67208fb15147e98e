# What the commands of tests/cluster share: where things are, how one gets into a cluster's namespaces, and how one waits.
# Sourced, never run. `fail` of deploy/dev/lib.sh ends with exit code 2: the question could not be answered.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/dev/lib.sh
. "$here/../../deploy/dev/lib.sh"

tools=$(kubernetes_folder "$(cache_folder)")
# The packages' programs first: the machine may have others of that name.
export PATH="$tools/bin:$tools/packages/usr/bin:$tools/packages/usr/sbin:$PATH"

# Every cluster has the same addresses, since each has a network of its own. Node n is 10.90.0.(10+n) and fd00:90::n, its
# pods are in 10.244.n.0/24 and fd00:10:244:n::/64.
MASTER=10.90.0.1
MASTER6=fd00:90::ffff
SERVER=https://$MASTER:6443
SERVICE_OF_API=10.96.0.1
SERVICES=10.96.0.0/16,fd00:10:96::/112
PODS=10.244.0.0/16,fd00:10:244::/48
# A host that is no part of the cluster, behind the control plane: what an ipBlock may mean.
OUTSIDE=203.0.113.1
OUTSIDE6=2001:db8::1
NODES_MOST=9

# Seconds that a condition may take. A cold machine with other work needs some ten of them.
PATIENCE=${PODWITNESS_CLUSTER_SECONDS:-180}

# take_cluster ARGUMENT...: takes -C FOLDER off the front; sets `cluster` and `arguments`.
take_cluster() {
    cluster=${PODWITNESS_CLUSTER:-$(cache_folder)/cluster}
    if [ "${1-}" = -C ]; then
        [ -n "${2-}" ] || fail '-C wants the folder of a cluster'
        cluster=$2
        shift 2
    fi
    cluster=$(realpath --canonicalize-missing "$cluster")
    arguments=("$@")
    use_assets
}

# use_assets: a cluster that was started with programs of a developer's own goes on with those.
use_assets() {
    [ ! -s "$cluster/assets" ] || PATH=$(cat "$cluster/assets"):$PATH
}

# require_assets FOLDER: what a control plane without controllers is made of.
require_assets() {
    local program
    for program in etcd kube-apiserver kubectl; do
        [ -x "$1/$program" ] || fail "KUBEBUILDER_ASSETS is $1, and there is no $program: unset it, or have setup-envtest make that folder"
    done
}

# require_tools_of_cluster: what deploy/dev/setup --cluster gets.
require_tools_of_cluster() {
    kubernetes_is_built "$tools" "$here" && packages_are_unpacked "$tools" && helm_is_built "$tools" && images_are_made "$tools" ||
        fail 'the programs of Kubernetes are not there, or of another version: run deploy/dev/setup --cluster'
}

# The namespaces that a cluster has, and each of its nodes. The end of `unshare` is theirs.
NAMESPACES=(--net --mount --propagation private --pid --uts --ipc --fork --mount-proc --kill-child=KILL)

# is_running: whether the cluster's first process lives.
is_running() {
    [ -s "$cluster/pid" ] && [ "$(readlink "/proc/$(cat "$cluster/pid")/ns/pid" 2>/dev/null)" = "$(cat "$cluster/namespace" 2>/dev/null)" ]
}

# end_cluster: ends every process of it, and waits for that.
end_cluster() {
    if is_running; then
        kill -KILL "$(cat "$cluster/pid")"
    fi
    # The first process is there until all others are gone. The supervisor sees that, tidies up and ends too.
    while is_running || supervisor_runs; do sleep 0.05; done
}

# Its process number may be another's by now: but nobody else is called with the folder.
supervisor_runs() {
    [ -s "$cluster/supervisor" ] &&
        grep --quiet --null-data --line-regexp --fixed-strings "$cluster" "/proc/$(cat "$cluster/supervisor")/cmdline" 2>/dev/null
}

require_running() {
    is_running || fail "there is no cluster in $cluster: start it with tests/cluster/up -C $cluster"
}

# nodes: the names of the nodes that were started, one a line.
nodes() {
    local folder
    for folder in "$cluster"/nodes/*/; do
        [ -d "$folder" ] && basename "$folder"
    done
}

# node_number NODE
node_number() {
    [[ $1 =~ ^node-[1-$NODES_MOST]$ ]] || fail "$1 is no node: the nodes are node-1 to node-$NODES_MOST"
    printf '%s\n' "${1#node-}"
}

# inside COMMAND...: runs it in the namespaces of the control plane.
inside() {
    nsenter --target "$(cat "$cluster/pid")" --net --mount --pid --wd="$PWD" -- "$@"
}

# inside_node NODE COMMAND...
inside_node() {
    local node=$1
    shift
    [ -s "$cluster/nodes/$node/pid" ] || fail "there is no $node in $cluster"
    # Its process number is one of the cluster's own namespace.
    inside nsenter --target "$(cat "$cluster/nodes/$node/pid")" --net --mount --pid --uts --wd="$PWD" -- "$@"
}

# on_network COMMAND...: runs it on the cluster's network alone, with the files of the machine.
on_network() {
    nsenter --target "$(cat "$cluster/pid")" --net -- "$@"
}

kubectl() {
    on_network env KUBECONFIG="$cluster/kubeconfig" kubectl "$@"
}

# wait_for WHAT LOG COMMAND...: repeats the command until it succeeds; fails with the log to look at when PATIENCE is over or
# a program has ended.
wait_for() {
    local what=$1 log=$2 end=$((SECONDS + PATIENCE)) ended
    shift 2
    until "$@" >/dev/null 2>&1; do
        is_running || fail "the cluster ended before $what: see $cluster/log"
        ended=$(ended_programs)
        [ -z "$ended" ] || fail "$ended ended before $what: see $cluster/log/$ended.log"
        [ "$SECONDS" -lt "$end" ] || fail "$what did not come within $PATIENCE s: see $log"
        sleep 0.2
    done
}

# ended_programs: a program that was started and has ended, as NAME or NODE/NAME; nothing where all run.
ended_programs() {
    local file name
    for file in "$cluster"/run/*.ended "$cluster"/nodes/*/run/*.ended; do
        [ -e "$file" ] || continue
        name=${file#"$cluster"/}
        name=${name#nodes/}
        name=${name/run\//}
        printf '%s\n' "${name%.ended}"
        return
    done
}

# first_process HOLDER: the process that `unshare` has started as the first of its namespaces.
first_process() {
    local first
    until first=$(cat "/proc/$1/task/$1/children" 2>/dev/null) && [ -n "$first" ]; do
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.02
    done
    printf '%s\n' "${first%% *}"
}

# cgroup_of FOLDER: the name of the control groups of the cluster in that folder.
cgroup_of() {
    printf 'podwitness-%s\n' "$(printf '%s' "$1" | sha256sum | cut -c 1-12)"
}

# cgroup_mounts: where the machine's control groups are, of either version.
cgroup_mounts() {
    findmnt --noheadings --list --output TARGET --types cgroup,cgroup2
}

# remove_cgroups NAME: those of that name and below, in all hierarchies. Their processes have been killed, and may take a
# moment to be gone.
remove_cgroups() {
    local mount end=$((SECONDS + PATIENCE))
    for mount in $(cgroup_mounts); do
        while [ -d "$mount/$1" ]; do
            find "$mount/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -d "$mount/$1" ] || break
            [ "$SECONDS" -lt "$end" ] || fail "the control groups $mount/$1 cannot be removed: something still runs in them"
            sleep 0.1
        done
    done
}
