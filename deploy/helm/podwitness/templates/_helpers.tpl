{{- define "podwitness.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "podwitness.selector" . }}
{{- end }}

{{- define "podwitness.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "podwitness.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* The one configuration file, with what the chart decides put over what the values say. */}}
{{- define "podwitness.config" -}}
{{- $cluster := required "cluster is missing: say how this cluster is called in the evidence, with --set cluster=NAME" .Values.cluster -}}
{{- $url := required "store.url is missing: say where the evidence goes, with --set store.url=s3://BUCKET/PREFIX" .Values.store.url -}}
{{- $address := .Values.listen.address | contains ":" | ternary (printf "[%s]" .Values.listen.address) .Values.listen.address -}}
{{- $decided := dict
  "cluster" $cluster
  "mode" .Values.mode
  "source" (dict "kubernetes" dict)
  "store" (dict "url" $url "objectLock" .Values.store.objectLock)
  "spool" (dict "path" (printf "%s/spool" .Values.stateFolder))
  "seal" (dict "keyFile" (printf "%s/key/node.key" .Values.stateFolder))
  "privacy" (dict "hmacKeyFile" (printf "%s/privacy/hmac.key" .Values.stateFolder))
  "bpffs" "/sys/fs/bpf/podwitness"
  "listen" (dict
    "agent" (printf "%s:%v" $address .Values.listen.agentPort)
    "exporter" (printf "%s:%v" $address .Values.listen.exporterPort))
-}}
{{- if .Values.startupTaint.enabled }}
{{- $_ := set $decided "startupTaint" "podwitness.io/agent-not-ready" }}
{{- end }}
{{- mustMergeOverwrite (deepCopy .Values.config) $decided | toYaml -}}
{{- end }}

{{/* What every container may do that needs no privilege. */}}
{{- define "podwitness.unprivileged" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsGroup }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The token of a service account, as the kubelet would mount it, but in one container alone. */}}
{{- define "podwitness.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{- define "podwitness.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* How a container gets into the store: (dict "root" $ "access" ACCESS), where ACCESS is shaped like store.access. */}}
{{- define "podwitness.storeEnv" -}}
{{- range $name, $value := .access.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with (.access.aws).roleArn }}
- {name: AWS_ROLE_ARN, value: {{ . | quote }}}
- {name: AWS_WEB_IDENTITY_TOKEN_FILE, value: /var/run/secrets/store/token}
{{- end }}
{{- with (.access.azure).clientId }}
- {name: AZURE_CLIENT_ID, value: {{ . | quote }}}
- {name: AZURE_TENANT_ID, value: {{ required "azure.tenantId is missing: it goes with azure.clientId" $.access.azure.tenantId | quote }}}
- {name: AZURE_FEDERATED_TOKEN_FILE, value: /var/run/secrets/store/token}
{{- end }}
{{- if .root.Values.store.caConfigMap }}
- {name: SSL_CERT_FILE, value: /etc/podwitness/ca/ca.crt}
{{- end }}
{{- end }}

{{- define "podwitness.storeEnvFrom" -}}
{{- with .access.existingSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "podwitness.storeMounts" -}}
{{- if or (.access.aws).roleArn (.access.azure).clientId }}
- {name: store-token, mountPath: /var/run/secrets/store, readOnly: true}
{{- end }}
{{- if .root.Values.store.caConfigMap }}
- {name: ca, mountPath: /etc/podwitness/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "podwitness.storeVolumes" -}}
{{- if or (.access.aws).roleArn (.access.azure).clientId }}
- name: store-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ if (.access.aws).roleArn }}sts.amazonaws.com{{ else }}api://AzureADTokenExchange{{ end }}
          expirationSeconds: 3600
{{- end }}
{{- with .root.Values.store.caConfigMap }}
- name: ca
  configMap: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* The access of retain and of status: their own, or the exporter's where they say nothing. */}}
{{- define "podwitness.accessOf" -}}
{{- .own | default .root.Values.store.access | toYaml -}}
{{- end }}
