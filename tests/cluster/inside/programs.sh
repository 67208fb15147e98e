# What each program of a cluster is started with. Sourced inside the namespaces, after lib.sh; `cluster` is set, and for a
# node's programs `node`, `home` and `number`.

# command_of PROGRAM: sets `command`.
command_of() {
    local keys=$cluster/keys
    case "$1" in
        etcd)
            # In memory: nothing here outlives the cluster, and the disk of the machine need not be quick.
            command=(
                etcd --name cluster --data-dir /run/etcd --log-outputs stderr
                --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
                --listen-peer-urls http://127.0.0.1:2380 --quota-backend-bytes 4294967296
            )
            ;;
        kube-apiserver)
            command=(
                kube-apiserver --etcd-servers=http://127.0.0.1:2379
                --bind-address=:: --secure-port=6443 --advertise-address="$MASTER" --service-cluster-ip-range="$SERVICES"
                --tls-cert-file="$keys/server.crt" --tls-private-key-file="$keys/server.key"
                --client-ca-file="$keys/ca.crt" --token-auth-file="$keys/tokens.csv"
                --service-account-issuer=https://kubernetes.default.svc
                --service-account-key-file="$keys/accounts.pub" --service-account-signing-key-file="$keys/accounts.key"
                --kubelet-preferred-address-types=InternalIP
                --kubelet-client-certificate="$keys/kubelet-client.crt" --kubelet-client-key="$keys/kubelet-client.key"
                --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
                --profiling=false
            )
            ;;
        kube-controller-manager)
            command=(
                kube-controller-manager --kubeconfig="$keys/kube-controller-manager.kubeconfig" --leader-elect=false
                --service-account-private-key-file="$keys/accounts.key" --root-ca-file="$keys/ca.crt"
                --use-service-account-credentials=true --bind-address=127.0.0.1
            )
            ;;
        kube-scheduler)
            command=(
                kube-scheduler --kubeconfig="$keys/kube-scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
            )
            ;;
        versitygw)
            mkdir -p "$cluster/store/objects" "$cluster/store/versions"
            command=(
                env ROOT_ACCESS_KEY=podwitness ROOT_SECRET_KEY=podwitness-test
                "$(cache_folder)/bin/versitygw" --quiet --port :7070 posix
                --versioning-dir "$cluster/store/versions" "$cluster/store/objects"
            )
            ;;
        containerd) command=(containerd --config "$home/containerd.toml") ;;
        kubelet)
            command=(
                kubelet --config="$home/kubelet.yaml" --kubeconfig="$cluster/keys/$node.kubeconfig"
                --hostname-override="$node" --node-ip="10.90.0.1$number,fd00:90::$number"
            )
            ;;
        kube-proxy) command=(kube-proxy --config="$home/kube-proxy.yaml") ;;
        *) fail "$1 is no program of a cluster" ;;
    esac
}

# start_program PROGRAM RUN LOG: RUN/PROGRAM.pid is there from now on, and RUN/PROGRAM.ended as soon as it has ended.
start_program() {
    local command=() pid=$2/$1.pid ended=$2/$1.ended
    [ ! -e "$pid" ] || [ -e "$ended" ] || fail "$1 runs already"
    command_of "$1"
    mkdir -p "$2" "$3"
    rm -f "$pid" "$ended"
    setsid bash -c 'pid=$1 ended=$2; shift 2; "$@" & echo $! >"$pid"; wait $! || code=$?; echo "${code-0}" >"$ended"' \
        "$1" "$pid" "$ended" "${command[@]}" >>"$3/$1.log" 2>&1 </dev/null &
    until [ -s "$pid" ]; do sleep 0.02; done
}

# stop_program PROGRAM RUN SIGNAL
stop_program() {
    local pid=$2/$1.pid ended=$2/$1.ended end=$((SECONDS + PATIENCE))
    [ -e "$pid" ] || fail "$1 does not run"
    [ -e "$ended" ] || kill -s "$3" "$(cat "$pid")" || true
    until [ -e "$ended" ]; do
        [ "$SECONDS" -lt "$end" ] || fail "$1 did not end within $PATIENCE s of the signal $3"
        sleep 0.05
    done
    rm -f "$pid" "$ended"
}
