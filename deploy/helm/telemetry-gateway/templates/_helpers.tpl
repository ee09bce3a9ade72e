{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the policies of this release hold for. */}}
{{- define "gateway.releaseLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods that serve. */}}
{{- define "gateway.selectorLabels" -}}
{{ include "gateway.releaseLabels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "gateway.image" -}}
{{- $repository := required "image.repository is missing: name the repository that you pushed the image to" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration such as 1m30s, rounded up. */}}
{{- define "gateway.seconds" -}}
{{- $units := dict "ns" 1e-9 "us" 1e-6 "µs" 1e-6 "ms" 1e-3 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "w" 604800.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|[smhdw])" (toString .) -1 -}}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[a-zµ]+$" .))) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end -}}

{{/* Bytes of a size as Kubernetes (512Mi) or the gateway (512MiB) writes it. */}}
{{- define "gateway.bytes" -}}
{{- $units := dict "" 1.0 "B" 1.0 "k" 1e3 "K" 1e3 "KB" 1e3 "M" 1e6 "MB" 1e6 "G" 1e9 "GB" 1e9 "T" 1e12 "TB" 1e12
  "Ki" 1024.0 "KiB" 1024.0 "Mi" 1048576.0 "MiB" 1048576.0 "Gi" 1073741824.0 "GiB" 1073741824.0 "Ti" 1099511627776.0 "TiB" 1099511627776.0 -}}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) -}}
{{- if not (hasKey $units $unit) -}}{{- fail (printf "%v is not a size such as 512Mi" .) -}}{{- end -}}
{{- mulf (regexFind "^[0-9.]+" (toString .) | float64) (get $units $unit) | int64 -}}
{{- end -}}

{{/* The most that the pushes in flight of one replica may hold: what is configured, or the gateway's own default. */}}
{{- define "gateway.inflightBytes" -}}
{{- if .Values.server.max_inflight_bytes -}}
{{- include "gateway.bytes" .Values.server.max_inflight_bytes -}}
{{- else -}}
{{- mulf 0.4 (include "gateway.bytes" .Values.resources.limits.memory | float64) | int64 -}}
{{- end -}}
{{- end -}}

{{/* The name of the volume of a Secret or ConfigMap, given as secret/NAME. */}}
{{- define "gateway.volume" -}}
{{- $name := . | lower | replace "/" "-" -}}
{{- if or (contains "." $name) (gt (len $name) 63) -}}
{{- $name = printf "%s-%s" ($name | replace "." "-" | trunc 50 | trimSuffix "-") (sha256sum . | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Puts paths in place of references {secret, key} and {configMap, key} below a map, in every key that names a file. */}}
{{- define "gateway.resolve" -}}
{{- range $key, $value := . -}}
{{- if and (hasSuffix "_file" $key) (kindIs "map" $value) -}}
{{- $_ := set $ $key (include "gateway.path" $value) -}}
{{- else if and (eq $key "files") (kindIs "slice" $value) -}}
{{- $paths := list -}}
{{- range $value -}}{{- $paths = append $paths (ternary . (include "gateway.path" .) (kindIs "string" .)) -}}{{- end -}}
{{- $_ := set $ $key $paths -}}
{{- else if kindIs "map" $value -}}
{{- include "gateway.resolve" $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The path of what a reference names. */}}
{{- define "gateway.path" -}}
{{- if kindIs "map" . -}}
{{- $what := ternary "secret" "configMap" (hasKey . "secret") -}}
{{- if not (and (get . $what) .key) -}}{{- fail (printf "%s: a file is {secret: NAME, key: KEY} or {configMap: NAME, key: KEY}" (toJson .)) -}}{{- end -}}
{{- printf "/etc/gateway/%s/%s/%s" ($what | lower) (get . $what) .key -}}
{{- end -}}
{{- end -}}

{{/* What a map refers to, one a line: secret/NAME or configMap/NAME. */}}
{{- define "gateway.references" -}}
{{- range $key, $value := . -}}
{{- if and (hasSuffix "_file" $key) (kindIs "map" $value) -}}
{{ include "gateway.reference" $value }}
{{ else if and (eq $key "files") (kindIs "slice" $value) -}}
{{- range $value -}}{{- if kindIs "map" . -}}
{{ include "gateway.reference" . }}
{{ end -}}{{- end -}}
{{- else if kindIs "map" $value -}}
{{ include "gateway.references" $value }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gateway.reference" -}}
{{- $what := ternary "secret" "configMap" (hasKey . "secret") -}}
{{- printf "%s/%s" $what (get . $what) -}}
{{- end -}}

{{/* All that environments, server and admin refer to, each once, as a JSON list. */}}
{{- define "gateway.mounts" -}}
{{- $admin := dict -}}
{{- with .Values.admin.webConfigFile -}}{{- $_ := set $admin "web_config_file" . -}}{{- end -}}
{{- $all := print (include "gateway.references" .Values.environments) "\n" (include "gateway.references" .Values.server) "\n" (include "gateway.references" $admin) -}}
{{- $all | splitList "\n" | compact | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* The server section with its listeners, as a YAML map. */}}
{{- define "gateway.server" -}}
{{- $server := deepCopy .Values.server -}}
{{- $http := list -}}
{{- $grpc := list -}}
{{- range $name, $p := .Values.ports -}}
{{- $listener := printf ":%d" (int $p.port) -}}
{{- if $p.client -}}
{{- $listener = dict "address" $listener "environment" $p.environment "client" $p.client -}}
{{- end -}}
{{- if eq ($p.protocol | default "http") "grpc" -}}
{{- $grpc = append $grpc $listener -}}
{{- else -}}
{{- $http = append $http $listener -}}
{{- end -}}
{{- end -}}
{{- $_ := set $server "http_listen" $http -}}
{{- $_ := set $server "grpc_listen" $grpc -}}
{{- $_ := set $server "admin_listen" (printf ":%d" (int .Values.admin.port)) -}}
{{- with .Values.admin.webConfigFile -}}{{- $_ := set $server "admin_web_config_file" . -}}{{- end -}}
{{- include "gateway.resolve" $server -}}
{{- toYaml $server -}}
{{- end -}}

{{/* gateway.yaml */}}
{{- define "gateway.config" -}}
{{- if not .Values.environments -}}{{- fail "environments is empty: add environments.<name> with clients and upstreams" -}}{{- end -}}
{{- $environments := deepCopy .Values.environments -}}
{{- include "gateway.resolve" $environments -}}
{{- toYaml (dict "environments" $environments "server" (include "gateway.server" . | fromYaml)) -}}
{{- end -}}

{{/* A hash of what the gateway cannot change while running: only such a change starts new pods. */}}
{{- define "gateway.restartHash" -}}
{{- $server := include "gateway.server" . | fromYaml -}}
{{- $fixed := pick $server "admin_listen" "admin_web_config_file" "max_connections" "max_series" -}}
{{- $_ := set $fixed "tls" (not (empty (dig "tls" "cert_file" "" $server))) -}}
{{- $addresses := list -}}
{{- range concat $server.http_listen $server.grpc_listen -}}
{{- $addresses = append $addresses (ternary . (dig "address" "" (ternary (dict) . (kindIs "string" .))) (kindIs "string" .)) -}}
{{- end -}}
{{- $_ := set $fixed "addresses" $addresses -}}
{{- $fixed | toJson | sha256sum | trunc 16 -}}
{{- end -}}

{{/* The ports of all URLs below a map, one a line. */}}
{{- define "gateway.urlPorts" -}}
{{- range $key, $value := . -}}
{{- if and (has $key (list "url" "proxy_url" "token_url")) (kindIs "string" $value) -}}
{{- $port := regexFind ":[0-9]+$" (regexReplaceAll "^[a-z0-9]+://([^/?#]*).*$" $value "${1}") | trimPrefix ":" -}}
{{ $port | default (ternary "80" "443" (hasPrefix "http://" $value)) }}
{{ else if kindIs "map" $value -}}
{{ include "gateway.urlPorts" $value }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "yes" if a rule for metrics removes labels. */}}
{{- define "gateway.removesLabels" -}}
{{- range $name, $e := .Values.environments -}}
{{- range (dig "metrics" "relabel_configs" (list) $e) -}}
{{- if has .action (list "labeldrop" "labelkeep") -}}yes{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Containers: all of them run under the restricted Pod Security Standard. */}}
{{- define "gateway.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{- define "gateway.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "gateway.volumeMounts" -}}
- {name: config, mountPath: /etc/gateway/config, readOnly: true}
{{- range include "gateway.mounts" . | fromJsonArray }}
- {name: {{ include "gateway.volume" . }}, mountPath: /etc/gateway/{{ . | lower }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* Whole directories: Kubernetes never renews what is mounted by subPath. */}}
{{- define "gateway.volumes" -}}
- name: config
  configMap: {name: {{ include "gateway.fullname" . }}}
{{- range include "gateway.mounts" . | fromJsonArray }}
{{- $name := base . }}
- name: {{ include "gateway.volume" . }}
  {{- if hasPrefix "secret/" . }}
  secret: {secretName: {{ $name }}, defaultMode: 0440}
  {{- else }}
  configMap: {name: {{ $name }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "gateway.env" -}}
- {name: GOMEMLIMIT, value: "{{ mulf (include "gateway.bytes" .Values.resources.limits.memory | float64) (divf .Values.memoryLimitPercent 100) | int64 }}"}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
