{{- define "intel-agent.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "intel-agent.fullname" -}}
{{- $name := include "intel-agent.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of what belongs to no namespace: two releases may stand side by side. */}}
{{- define "intel-agent.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "intel-agent.fullname" .) }}
{{- end }}

{{- /* What the schema cannot say: refused here, before anything is installed. */}}
{{- define "intel-agent.check" -}}
{{- $rights := or (include "intel-agent.callsApiServer" .) .Values.openshift.securityContextConstraints }}
{{- if and $rights (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name: needed when serviceAccount.create is false: every pod of the namespace would have the agent's rights" }}
{{- end }}
{{- if and (include "intel-agent.removesTaint" .) (semverCompare "<1.30-0" .Capabilities.KubeVersion.Version) }}
{{- fail "startupTaint.enabled: needs Kubernetes 1.30: the rights that come with it are not narrowed to the agent's own node before" }}
{{- end }}
{{- $paths := list "/etc/intel-agent" "/host/dev" "/host/sys" "/run/intel-agent" "/var/lib/intel-agent" }}
{{- range $key, $path := dict "kubelet.devicePluginDirectory" .Values.kubelet.devicePluginDirectory "kubelet.podResourcesSocket" (dir .Values.kubelet.podResourcesSocket) "cdi.directory" .Values.cdi.directory }}
{{- if has (clean $path) $paths }}
{{- fail (printf "%s: %s is the directory of something else already" $key (clean $path)) }}
{{- end }}
{{- if has ".." (splitList "/" $path) }}
{{- fail (printf "%s: %s leads upwards: write the path without .." $key $path) }}
{{- end }}
{{- $paths = append $paths (clean $path) }}
{{- end }}
{{- end }}

{{- define "intel-agent.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "intel-agent.fullname" .) "default") }}
{{- end }}

{{- define "intel-agent.image" -}}
{{- with .Values.image }}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- with .digest }}@{{ . }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "intel-agent.selector" -}}
app.kubernetes.io/name: {{ include "intel-agent.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: agent
{{- end }}

{{- /* Labels and annotations of every object. Pods have only those of the selector: what changes with the chart's version would restart them. */}}
{{- define "intel-agent.metadata" -}}
labels:
  {{- include "intel-agent.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- with .Values.commonLabels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The agent's configuration file: every value that is not the chart's own. */}}
{{- define "intel-agent.file" -}}
{{- $own := list "affinity" "commonAnnotations" "commonLabels" "enabled" "fullnameOverride" "global" "hostMounts" "image" "nameOverride" "networkPolicy" "nodeFeatureRules" "nodeSelector" "openshift" "podAnnotations" "podLabels" "priorityClassName" "resources" "seLinux" "serviceAccount" "test" "tolerations" }}
{{- $file := dict }}
{{- range $key, $value := .Values }}
{{- if and $value (not (has $key $own)) }}{{ $_ := set $file $key $value }}{{ end }}
{{- end }}
{{- toYaml $file }}
{{- end }}

{{- define "intel-agent.removesTaint" -}}
{{- if (.Values.startupTaint | default dict).enabled }}true{{ end }}
{{- end }}

{{- define "intel-agent.taint" -}}
{{- (.Values.startupTaint | default dict).key | default "intel.com/agent-not-ready" }}
{{- end }}

{{- /* Whether the agent needs the API server: not empty means yes. */}}
{{- define "intel-agent.callsApiServer" -}}
{{- if or .Values.nodeOverrides (include "intel-agent.removesTaint" .) }}true{{ end }}
{{- end }}

{{- /* How a directory of the node is seen that the agent only reads. */}}
{{- define "intel-agent.readOnly" -}}
readOnly: true
{{- if .Values.hostMounts.recursiveReadOnly }}
recursiveReadOnly: IfPossible
{{- else }}
mountPropagation: HostToContainer
{{- end }}
{{- end }}

{{- define "intel-agent.tolerations" -}}
{{- $all := .Values.tolerations }}
{{- if include "intel-agent.removesTaint" . }}
{{- $all = append $all (dict "key" (include "intel-agent.taint" .) "operator" "Exists") }}
{{- end }}
{{- with $all }}{{ toYaml . }}{{ end }}
{{- end }}

{{- /* The agent reads the name of a pretended machine once, when it starts: another name is another pod. */}}
{{- define "intel-agent.podAnnotations" -}}
{{- with (.Values.simulation | default dict).node }}
intel.com/simulated-node: {{ . | quote }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
