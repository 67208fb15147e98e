{{/*
What retain and status have in common: (dict "root" $ "name" NAME "verbs" ...). Each has a service account of its own, and
runs on the pods' network without any privilege.
*/}}
{{- define "podwitness.jobRbac" -}}
{{- $full := printf "%s-%s" .root.Release.Name .name -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "podwitness.labels" .root | nindent 4 }}
  {{- with (index .root.Values.serviceAccounts .name).annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $full }}
  labels: {{- include "podwitness.labels" .root | nindent 4 }}
rules:
  - apiGroups: ['']
    resources: [namespaces]
    verbs: [list, watch]
  - apiGroups: [podwitness.io]
    resources: [audittrails]
    verbs: [list, watch]
  {{- if eq .name "status" }}
  - apiGroups: [podwitness.io]
    resources: [audittrails/status]
    verbs: [patch]
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $full }}
  labels: {{- include "podwitness.labels" .root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $full }}}
subjects:
  - {kind: ServiceAccount, name: {{ $full }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}

{{/* (dict "root" $ "name" NAME "command" LIST "mounts" LIST "volumes" LIST) */}}
{{- define "podwitness.cronJob" -}}
{{- $values := index .root.Values .name -}}
{{- $access := include "podwitness.accessOf" (dict "root" .root "own" $values.access) | fromYaml -}}
{{- $store := dict "root" .root "access" $access -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "podwitness.labels" .root | nindent 4 }}
spec:
  schedule: {{ $values.schedule | quote }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        metadata:
          labels:
            {{- include "podwitness.labels" .root | nindent 12 }}
            app.kubernetes.io/component: {{ .name }}
        spec:
          serviceAccountName: {{ .root.Release.Name }}-{{ .name }}
          automountServiceAccountToken: false
          enableServiceLinks: false
          restartPolicy: Never
          nodeSelector: {kubernetes.io/os: linux}
          {{- with .root.Values.imagePullSecrets }}
          imagePullSecrets: {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            fsGroup: {{ .root.Values.runAsGroup }}
            fsGroupChangePolicy: OnRootMismatch
          containers:
            - name: {{ .name }}
              image: {{ include "podwitness.image" .root }}
              imagePullPolicy: {{ .root.Values.image.pullPolicy }}
              command: {{- toYaml .command | nindent 16 }}
              securityContext: {{- include "podwitness.unprivileged" .root | nindent 16 }}
              env:
                # The configuration asks for a node's name; nothing is written under this one.
                - {name: NODE_NAME, value: {{ .name }}}
                {{- with include "podwitness.storeEnv" $store | trim }}
                {{- . | nindent 16 }}
                {{- end }}
              {{- with include "podwitness.storeEnvFrom" $store | trim }}
              envFrom: {{- . | nindent 16 }}
              {{- end }}
              resources: {{- toYaml $values.resources | nindent 16 }}
              volumeMounts:
                - {name: config, mountPath: /etc/podwitness, readOnly: true}
                {{- include "podwitness.tokenMount" .root | nindent 16 }}
                {{- with include "podwitness.storeMounts" $store | trim }}
                {{- . | nindent 16 }}
                {{- end }}
                {{- with .mounts }}
                {{- toYaml . | nindent 16 }}
                {{- end }}
          volumes:
            - name: config
              configMap: {name: {{ .root.Release.Name }}}
            {{- include "podwitness.tokenVolume" .root | nindent 12 }}
            {{- with include "podwitness.storeVolumes" $store | trim }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- with .volumes }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
{{- end }}
