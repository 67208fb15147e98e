{{/* What the DaemonSet and its successor at the uninstallation have in common. */}}

{{- define "podwitness.nodeSpec" -}}
serviceAccountName: {{ .Release.Name }}
# The agent alone gets a token, below: the exporter never talks to Kubernetes.
automountServiceAccountToken: false
# The pods' veths end in the node's namespace, and so do its addresses and its connection tracking.
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
enableServiceLinks: false
priorityClassName: {{ .Values.priorityClassName }}
# The exporter waits up to 15 s for the agent, and then takes up to 20 s to put what the spool holds.
terminationGracePeriodSeconds: 40
nodeSelector: {{- merge (dict "kubernetes.io/os" "linux") .Values.nodeSelector | toYaml | nindent 2 }}
tolerations: {{- toYaml .Values.tolerations | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  # For the token of the store; folders of the node are not touched by it.
  fsGroup: {{ .Values.runAsGroup }}
{{- end }}

{{/* Without one some clouds allow that priority in kube-system alone. */}}
{{- define "podwitness.priorityQuota" -}}
hard: {pods: 1M}
scopeSelector:
  matchExpressions:
    - {scopeName: PriorityClass, operator: In, values: [{{ .Values.priorityClassName }}]}
{{- end }}

{{/* root, with the exporter's group: so the folders that it makes are of the group that shares them, without a capability. */}}
{{- define "podwitness.agentUser" -}}
runAsUser: 0
runAsGroup: {{ .Values.runAsGroup }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "podwitness.agentSecurity" -}}
{{ include "podwitness.agentUser" . }}
capabilities:
  drop: [ALL]
  add:
    # to attach programs to interfaces, and to ask connection tracking
    - NET_ADMIN
    # to enter pods' network namespaces; it is also the right to load programs, which BPF and PERFMON are parts of
    - SYS_ADMIN
# The runtimes' own profile forbids writing anywhere below /sys, and so pins.
appArmorProfile: {type: Unconfined}
{{- with .Values.agent.seLinuxOptions }}
seLinuxOptions: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "podwitness.folderSecurity" -}}
{{ include "podwitness.agentUser" . }}
capabilities: {drop: [ALL]}
{{- with .Values.agent.seLinuxOptions }}
seLinuxOptions: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Makes the folders of the node that both programs need, each for those who may use it. */}}
{{- define "podwitness.folders" -}}
name: folders
image: {{ include "podwitness.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [podwitness-agent, --config, /etc/podwitness/podwitness.yaml, --make-folders]
securityContext: {{- include "podwitness.folderSecurity" . | nindent 2 }}
env:
  {{- include "podwitness.nodeName" . | nindent 2 }}
resources:
  requests: {cpu: 10m, memory: 16Mi}
volumeMounts:
  - {name: config, mountPath: /etc/podwitness, readOnly: true}
  - {name: spool, mountPath: {{ .Values.stateFolder }}/spool}
  - {name: key, mountPath: {{ .Values.stateFolder }}/key}
  - {name: privacy, mountPath: {{ .Values.stateFolder }}/privacy}
{{- end }}

{{- define "podwitness.nodeVolumes" -}}
- name: config
  configMap: {name: {{ .Release.Name }}}
- name: spool
  hostPath: {path: {{ .Values.stateFolder }}/spool, type: DirectoryOrCreate}
- name: key
  hostPath: {path: {{ .Values.stateFolder }}/key, type: DirectoryOrCreate}
- name: privacy
  hostPath: {path: {{ .Values.stateFolder }}/privacy, type: DirectoryOrCreate}
- name: bpffs
  hostPath: {path: /sys/fs/bpf, type: Directory}
{{- with include "podwitness.storeVolumes" (dict "root" . "access" .Values.store.access) | trim }}
{{ . }}
{{- end }}
{{- end }}

{{- define "podwitness.nodeName" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}

{{- define "podwitness.bpffsMount" -}}
# Pins outlive the pod. Where the node mounts it later, that comes in too.
- {name: bpffs, mountPath: /sys/fs/bpf, mountPropagation: HostToContainer}
{{- end }}

{{- define "podwitness.exporter" -}}
name: exporter
image: {{ include "podwitness.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [podwitness-exporter, --config, /etc/podwitness/podwitness.yaml]
lifecycle:
  # The kubelet stops all containers at once; the last seal is to have what the agent says last.
  preStop:
    exec: {command: [podwitness-exporter, --config, /etc/podwitness/podwitness.yaml, --await-agent]}
securityContext:
  {{- include "podwitness.unprivileged" . | nindent 2 }}
  {{- with .Values.exporter.seLinuxOptions }}
  seLinuxOptions: {{- toYaml . | nindent 4 }}
  {{- end }}
env:
  {{- include "podwitness.nodeName" . | nindent 2 }}
  {{- with include "podwitness.storeEnv" (dict "root" . "access" .Values.store.access) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with include "podwitness.storeEnvFrom" (dict "root" . "access" .Values.store.access) | trim }}
envFrom: {{- . | nindent 2 }}
{{- end }}
ports:
  - {name: exporter, containerPort: {{ .Values.listen.exporterPort }}}
livenessProbe:
  httpGet: {host: 127.0.0.1, port: exporter, path: /healthz}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {host: 127.0.0.1, port: exporter, path: /readyz}
  periodSeconds: 5
  timeoutSeconds: 5
resources: {{- toYaml .Values.exporter.resources | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/podwitness, readOnly: true}
  - {name: spool, mountPath: {{ .Values.stateFolder }}/spool}
  - {name: key, mountPath: {{ .Values.stateFolder }}/key}
  {{- with include "podwitness.storeMounts" (dict "root" . "access" .Values.store.access) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
