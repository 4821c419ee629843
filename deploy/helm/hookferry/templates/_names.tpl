{{- define "hookferry.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "hookferry.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hookferry.labels" -}}
{{ include "hookferry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "hookferry.config" -}}
{{- if not .Values.config }}
{{- fail "config is empty: give hookferry.yaml as a map (sources, targets, routes), or name an existingConfig" }}
{{- end }}
{{- toYaml .Values.config }}
{{- end }}

{{- define "hookferry.tokenSecret" -}}
{{- .Values.adminToken.existingSecret | default (printf "%s-admin" (include "hookferry.name" .)) }}
{{- end }}
