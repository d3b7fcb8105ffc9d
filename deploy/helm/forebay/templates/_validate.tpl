{{/* What the schema can't say. All refusals of the chart stand here, each naming the value to set. */}}
{{- define "forebay.validate" -}}
{{- if regexMatch `(?m)^[ \t]*\[[ \t]*["']?shutdown["']?[ \t]*\]` .Values.config }}
{{- fail "config: the chart writes [shutdown] itself; set shutdown.drainSeconds" }}
{{- end }}
{{- if regexMatch `(?m)^[ \t]*\[[ \t]*["']?admin["']?[ \t]*\]` .Values.config }}
{{- fail "config: the chart writes [admin] itself; set admin.port" }}
{{- end }}
{{- if and .Values.accounts (not (regexMatch `(?m)^[ \t]*include[ \t]*=` .Values.config)) }}
{{- fail "accounts: config does not include them; begin config with: include = [\"accounts.d/*.toml\"]" }}
{{- end }}
{{- if and .Values.kafka.existingSecret (not .Values.kafka.keys) }}
{{- fail "kafka.keys: name the keys of kafka.existingSecret that become files" }}
{{- end }}
{{- if and .Values.kafka.keys (not .Values.kafka.existingSecret) }}
{{- fail "kafka.existingSecret: name the Secret that holds kafka.keys" }}
{{- end }}
{{- range $name := list "podMonitor" "prometheusRule" }}
{{- with index $.Values.metrics $name }}
{{- if and .enabled (not .skipApiCheck) (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- fail (printf "metrics.%s.enabled: this cluster does not know monitoring.coreos.com/v1. Install the Prometheus operator, or, where the cluster can't be asked, set metrics.%s.skipApiCheck" $name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
