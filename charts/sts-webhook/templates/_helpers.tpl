{{- define "sts-webhook.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What values.schema.json cannot express. */ -}}
{{- define "sts-webhook.validate" -}}
{{- if not (.Files.Glob "manifests/*.yaml") -}}
{{- fail "the chart lacks its folder manifests, which is a symbolic link in the repository: use a packaged chart (helm package), or a clone with symbolic links" -}}
{{- end -}}
{{- range .Values.args -}}
{{- $flag := regexFind "^--[a-z-]+" . -}}
{{- $value := get (dict "--check-nodes" "checks.nodes" "--check-volumes" "checks.volumes" "--events" "events.enabled") $flag -}}
{{- if $value -}}
{{- fail (printf "args: %s is set by the value %s, which also gives the right that it needs" $flag $value) -}}
{{- end -}}
{{- if has $flag (list "--namespace" "--listen-address" "--health-address" "--metrics-address") -}}
{{- fail (printf "args: %s cannot be changed, the other objects of the chart rely on its default" $flag) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.checks.volumes (not .Values.checks.nodes) -}}
{{- fail "checks.volumes needs checks.nodes: set checks.nodes=true" -}}
{{- end -}}
{{- if and .Values.alerts.secret (not .Values.alerts.url) -}}
{{- fail "alerts.secret without alerts.url: set alerts.url, too" -}}
{{- end -}}
{{- if and .Values.alerts.url (ne .Values.alerts.existingSecret "sts-webhook-dingtalk") -}}
{{- fail "alerts.url and alerts.existingSecret exclude each other: set one" -}}
{{- end -}}
{{- if and .Values.gate.enabled (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "gate.enabled needs Kubernetes 1.36, this is %s: docs/availability.md, section Before Kubernetes 1.36" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
