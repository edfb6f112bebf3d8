{{- define "rsagent.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of everything. Call: include "rsagent.labels" (list . "gateway") */}}
{{- define "rsagent.labels" -}}
{{- $root := index . 0 -}}
{{ include "rsagent.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rsagent
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* What a component's pods are found by. */}}
{{- define "rsagent.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: rsagent
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* A component's image. Call: include "rsagent.image" (list . .Values.gateway.image) */}}
{{- define "rsagent.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{ printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- end -}}

{{- define "rsagent.cluster" -}}
{{- if eq .Values.profile "cluster" }}yes{{ end -}}
{{- end -}}

{{- define "rsagent.has-policy" -}}
{{- if and (include "rsagent.cluster" .) .Values.policy.enabled }}yes{{ end -}}
{{- end -}}

{{- define "rsagent.has-segmenter" -}}
{{- if and (include "rsagent.cluster" .) .Values.segmenter.enabled }}yes{{ end -}}
{{- end -}}

{{- define "rsagent.secret" -}}
{{- .Values.secrets.existing | default (printf "%s-engines" (include "rsagent.fullname" .)) -}}
{{- end -}}

{{- define "rsagent.segmenter-name" -}}
{{ include "rsagent.fullname" . }}-segmenter
{{- end -}}

{{/* KubeRay names the head's Service so, whatever the name of the RayCluster behind it. */}}
{{- define "rsagent.ray-head" -}}
{{- if .Values.segmenter.enabled -}}
{{ include "rsagent.segmenter-name" . }}-head-svc:6379
{{- else -}}
{{ required "segmenter.enabled=false needs segmenter.address, the head of your Ray cluster" .Values.segmenter.address }}
{{- end -}}
{{- end -}}

{{- define "rsagent.policy-urls" -}}
{{- $urls := .Values.policy.urls -}}
{{- if .Values.policy.enabled -}}
{{- $urls = list -}}
{{- range $number := until (int .Values.policy.replicas) -}}
{{- $urls = append $urls (printf "http://%s-policy-%d:8000/v1" (include "rsagent.fullname" $) $number) -}}
{{- end -}}
{{- end -}}
{{ required "policy.enabled=false needs policy.urls, where your engines are" (join "," $urls) }}
{{- end -}}

{{/* The pod standard "restricted", in both of its halves. */}}
{{- define "rsagent.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "rsagent.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* rsagent.toml. TOML tells 8 from 8.0, Helm does not. */}}
{{- define "rsagent.toml" -}}
{{- $server := dict "host" "0.0.0.0" "port" 8080 "drain" .Values.gateway.drain "linger" .Values.gateway.linger -}}
{{- $config := dict "profile" .Values.profile "server" $server "log" (dict "format" "json" "level" "info") -}}
{{- if include "rsagent.cluster" . -}}
{{- $_ := set $config "policy" (dict "openai" (dict "base_url" (include "rsagent.policy-urls" .) "server" "vllm" "dialect" .Values.policy.dialect "max_pixels" .Values.policy.maxPixels)) -}}
{{- $ray := dict "address" (include "rsagent.ray-head" .) "token_path" "/etc/rsagent/ray/auth_token" "deploy" false "start_timeout" 600 -}}
{{- $_ := set $config "segmenter" (dict "ray" $ray) -}}
{{- end -}}
{{- if or .Values.gateway.keys.secret .Values.gateway.keys.lines -}}
{{- $_ := set $config "keys" (dict "file" "/etc/rsagent/keys/keys.txt") -}}
{{- end -}}
{{- $toml := mergeOverwrite $config (deepCopy .Values.gateway.config) | toToml -}}
{{ regexReplaceAll "(?m)= (-?[0-9]+)\\.0$" $toml "= ${1}" }}
{{- end -}}

{{/* What Serve deploys: deploy/serve.yaml with this chart's values over it. */}}
{{- define "rsagent.serve-config" -}}
{{- $config := .Files.Get "files/serve.yaml" | fromYaml -}}
{{- $application := index $config.applications 0 -}}
{{- $deployment := index $application.deployments 0 -}}
{{- $_ := set $application "args" (mergeOverwrite $application.args (deepCopy .Values.segmenter.args)) -}}
{{- $replicas := .Values.segmenter.replicas -}}
{{- $scale := dict "min_replicas" $replicas.min "max_replicas" $replicas.max "target_ongoing_requests" $replicas.targetOngoing -}}
{{- $_ := set $deployment "autoscaling_config" (mergeOverwrite $deployment.autoscaling_config $scale) -}}
{{- $resources := dict "num_cpus" .Values.segmenter.cpusPerReplica "num_gpus" .Values.segmenter.gpusPerReplica -}}
{{- $_ := set $deployment "ray_actor_options" (mergeOverwrite $deployment.ray_actor_options $resources) -}}
{{ toYaml $config }}
{{- end -}}

{{/* Ray in a pod with a read-only root. Variables of both kinds of node and of the one beside the gateway. */}}
{{- define "rsagent.ray-env" -}}
- {name: RAY_AUTH_MODE, value: token}
- name: RAY_AUTH_TOKEN
  valueFrom: {secretKeyRef: {name: {{ include "rsagent.secret" . }}, key: auth_token}}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH, value: "67108864"}
- {name: HOME, value: /tmp}
- {name: USER, value: rsagent}
{{- end -}}

{{/* Asks the raylet beside it, and nothing else: KubeRay's own probe asks for an HTTP proxy that is not run here. */}}
{{- define "rsagent.raylet-probe" -}}
import urllib.request as u; u.urlopen('http://127.0.0.1:52365/api/local_raylet_healthz', timeout=4).read()
{{- end -}}
