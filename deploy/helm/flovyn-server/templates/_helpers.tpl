{{- define "flovyn.name" -}}
{{- if contains "flovyn-server" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-flovyn-server" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "flovyn.selector" -}}
app.kubernetes.io/name: flovyn-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flovyn.labels" -}}
{{ include "flovyn.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "flovyn.secret" -}}
{{ .Values.secrets.existingSecret | default (include "flovyn.name" .) }}
{{- end }}
