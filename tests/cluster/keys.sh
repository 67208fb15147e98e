# The certificates, tokens and kubeconfigs of a cluster. Sourced after lib.sh by tests/cluster/up.

# make_keys: everything that the control plane is started with.
make_keys() {
    local keys=$cluster/keys who number
    mkdir -p "$keys"
    chmod 700 "$keys"
    make_key "$keys/ca"
    openssl req -x509 -new -key "$keys/ca.key" -subj /CN=podwitness-test-ca -days 3650 -out "$keys/ca.crt"
    sign "$keys/server" /CN=kube-apiserver \
        "subjectAltName=IP:$MASTER,IP:$MASTER6,IP:$SERVICE_OF_API,IP:127.0.0.1,IP:::1,DNS:localhost,DNS:kubernetes.default.svc"
    sign "$keys/kubelet-client" /O=system:masters/CN=kube-apiserver extendedKeyUsage=clientAuth
    make_key "$keys/accounts"
    openssl pkey -in "$keys/accounts.key" -pubout -out "$keys/accounts.pub"
    # The server reads them once: so there is one for every node that there may be.
    : >"$keys/tokens.csv"
    add_token admin admin system:masters
    for who in kube-controller-manager kube-scheduler kube-proxy; do
        add_token "$who" "system:$who" ''
        write_kubeconfig "$who"
    done
    for ((number = 1; number <= NODES_MOST; number++)); do
        add_token "node-$number" "system:node:node-$number" system:nodes
        write_kubeconfig "node-$number"
    done
    write_kubeconfig admin
    mv "$keys/admin.kubeconfig" "$cluster/kubeconfig"
}

# make_key PATH: the private key PATH.key.
make_key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

# sign PATH SUBJECT EXTENSION: a key and a certificate of the cluster's authority.
sign() {
    make_key "$1"
    openssl req -new -key "$1.key" -subj "$2" |
        openssl x509 -req -CA "$cluster/keys/ca.crt" -CAkey "$cluster/keys/ca.key" -CAcreateserial -days 3650 \
            -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>/dev/null
}

# add_token NAME USER GROUP
add_token() {
    printf '%s,%s,%s,"%s"\n' "$(openssl rand -hex 16)" "$2" "$2" "$3" >>"$cluster/keys/tokens.csv"
    tail -n 1 "$cluster/keys/tokens.csv" | cut -d , -f 1 >"$cluster/keys/$1.token"
}

# write_kubeconfig NAME: for who has the token of that name.
write_kubeconfig() {
    cat >"$cluster/keys/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: podwitness
    cluster:
      server: $SERVER
      certificate-authority-data: $(base64 --wrap 0 "$cluster/keys/ca.crt")
users:
  - name: $1
    user: {token: $(cat "$cluster/keys/$1.token")}
contexts:
  - name: podwitness
    context: {cluster: podwitness, user: $1}
current-context: podwitness
YAML
}
