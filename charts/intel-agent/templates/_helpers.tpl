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
{{- range $section, $needed := dict "startupTaint" (include "intel-agent.removesTaint" .) "nodeCondition" (include "intel-agent.setsCondition" .) "faultTaint" (include "intel-agent.setsTaint" .) "eviction" (include "intel-agent.evicts" .) }}
{{- if and $needed (not (include "intel-agent.hasPolicies" $)) }}
{{- fail (printf "%s.enabled: needs Kubernetes 1.30: the rights that come with it are not narrowed to the agent's own node before" $section) }}
{{- end }}
{{- end }}
{{- $paths := list "/etc/intel-agent" "/host/dev" "/host/sys" "/run/intel-agent" "/var/lib/intel-agent" }}
{{- $named := dict "kubelet.devicePluginDirectory" .Values.kubelet.devicePluginDirectory "kubelet.podResourcesSocket" (dir .Values.kubelet.podResourcesSocket) "cdi.directory" .Values.cdi.directory }}
{{- with include "intel-agent.deviceInfo" . }}{{ $_ := set $named "deviceInfo.directory" . }}{{ end }}
{{- with include "intel-agent.xpumd" . }}{{ $_ := set $named "health.xpumd.socket" . }}{{ end }}
{{- range $place, $each := .Values.configMaps }}{{ $_ := set $named (printf "configMaps[%d].directory" $place) $each.directory }}{{ end }}
{{- range $key, $path := $named }}
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

{{- /* The same for an object that is found by labels: a list of the root and those labels. */}}
{{- define "intel-agent.monitored" -}}
{{- $metadata := include "intel-agent.metadata" (index . 0) | fromYaml }}
{{- $_ := set $metadata "labels" (merge (dict) (index . 1) $metadata.labels) }}
{{- toYaml $metadata }}
{{- end }}

{{- /* The agent's configuration file: every value that is not the chart's own. */}}
{{- define "intel-agent.file" -}}
{{- $own := list "affinity" "commonAnnotations" "commonLabels" "configMaps" "enabled" "fullnameOverride" "global" "hostMounts" "image" "monitoring" "nameOverride" "networkPolicy" "nodeFeatureRules" "nodeSelector" "openshift" "podAnnotations" "podLabels" "priorityClassName" "resources" "seLinux" "serviceAccount" "test" "tolerations" }}
{{- $file := dict }}
{{- range $key, $value := .Values }}
{{- if and $value (not (has $key $own)) }}{{ $_ := set $file $key $value }}{{ end }}
{{- end }}
{{- toYaml $file }}
{{- end }}

{{- /* Whether network functions are offered on any node: not empty means yes. They need the host's network, where the kernel tells of interfaces. The only template that knows a kind of devices. */}}
{{- define "intel-agent.hostNetwork" -}}
{{- $sections := list ((.Values.devices | default dict).nic | default dict) }}
{{- $on := ne (toString (first $sections).enabled) "false" }}
{{- $asked := false }}
{{- range .Values.nodeOverrides }}
{{- $sections = append $sections (.devices.nic | default dict) }}
{{- end }}
{{- range $sections }}
{{- $on = or $on (eq (toString .enabled) "true") }}
{{- $asked = or $asked .pools .configFile }}
{{- end }}
{{- if and $on $asked }}true{{ end }}
{{- end }}

{{- define "intel-agent.deviceInfo" -}}
{{- if include "intel-agent.hostNetwork" . }}{{ .Values.deviceInfo.directory }}{{ end }}
{{- end }}

{{- /* The directory of xpumd's socket, if it is asked. */}}
{{- define "intel-agent.xpumd" -}}
{{- with ((.Values.health | default dict).xpumd | default dict).socket }}{{ dir . }}{{ end }}
{{- end }}

{{- define "intel-agent.removesTaint" -}}
{{- if (.Values.startupTaint | default dict).enabled }}true{{ end }}
{{- end }}

{{- define "intel-agent.taint" -}}
{{- (.Values.startupTaint | default dict).key | default "intel.com/agent-not-ready" }}
{{- end }}

{{- /* Whether the agent puts a taint on its node while a device is unhealthy: not empty means yes. */}}
{{- define "intel-agent.setsTaint" -}}
{{- if (.Values.faultTaint | default dict).enabled }}true{{ end }}
{{- end }}

{{- define "intel-agent.faultTaint" -}}
{{- (.Values.faultTaint | default dict).key | default "intel.com/device-unhealthy" }}
{{- end }}

{{- define "intel-agent.faultEffect" -}}
{{- (.Values.faultTaint | default dict).effect | default "NoSchedule" }}
{{- end }}

{{- /* Whether the agent changes taints of its node: not empty means yes. */}}
{{- define "intel-agent.changesTaints" -}}
{{- if or (include "intel-agent.removesTaint" .) (include "intel-agent.setsTaint" .) }}true{{ end }}
{{- end }}

{{- /* Whether the agent evicts pods: not empty means yes. */}}
{{- define "intel-agent.evicts" -}}
{{- if (.Values.eviction | default dict).enabled }}true{{ end }}
{{- end }}

{{- /* Whether it may evict pods of all namespaces but kube-system: not empty means yes. */}}
{{- define "intel-agent.evictsAnywhere" -}}
{{- if and (include "intel-agent.evicts" .) (not .Values.eviction.namespaces) }}true{{ end }}
{{- end }}

{{- define "intel-agent.evictionRules" -}}
- apiGroups: [""]
  resources: [pods]
  # What made a pod, before it is evicted.
  verbs: [get]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
{{- end }}

{{- define "intel-agent.setsCondition" -}}
{{- if (.Values.nodeCondition | default dict).enabled }}true{{ end }}
{{- end }}

{{- /* Whether the cluster can narrow the rights of an account further than a role: not empty means yes. */}}
{{- define "intel-agent.hasPolicies" -}}
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{- /* Whether the agent reads its node: not empty means yes. */}}
{{- define "intel-agent.readsNode" -}}
{{- if or .Values.nodeOverrides (include "intel-agent.changesTaints" .) (include "intel-agent.setsCondition" .) }}true{{ end }}
{{- end }}

{{- /* Whether the agent needs the API server: not empty means yes. */}}
{{- define "intel-agent.callsApiServer" -}}
{{- if or (include "intel-agent.readsNode" .) (include "intel-agent.makesEvents" .) (include "intel-agent.evicts" .) }}true{{ end }}
{{- end }}

{{- /* What the agent may do in the API, in a sentence. */}}
{{- define "intel-agent.rights" -}}
{{- $rights := list }}
{{- if include "intel-agent.readsNode" . }}{{ $rights = append $rights "get nodes" }}{{ end }}
{{- if include "intel-agent.removesTaint" . }}{{ $rights = append $rights (printf "remove the taint %s of its node" (include "intel-agent.taint" .)) }}{{ end }}
{{- if include "intel-agent.setsTaint" . }}{{ $rights = append $rights (printf "set the taint %s:%s of its node" (include "intel-agent.faultTaint" .) (include "intel-agent.faultEffect" .)) }}{{ end }}
{{- if include "intel-agent.setsCondition" . }}{{ $rights = append $rights "set the condition IntelDeviceUnhealthy of its node" }}{{ end }}
{{- if include "intel-agent.makesEvents" . }}{{ $rights = append $rights "create Events" }}{{ end }}
{{- if include "intel-agent.evicts" . }}{{ $rights = append $rights (ternary "try out the eviction of pods" "evict pods" (eq (toString .Values.eviction.dryRun) "true")) }}{{ end }}
{{- join "; " $rights | default "nothing; it has no token" }}.
{{- end }}

{{- /* Name and binding of a policy about the agent's account: a list of the root and what its name ends with. */}}
{{- define "intel-agent.policyName" -}}
{{- printf "%s%s" (include "intel-agent.clusterName" (index . 0)) (index . 1) }}
{{- end }}

{{- define "intel-agent.byTheAgent" -}}
- name: by-the-agent
  expression: >-
    request.userInfo.username ==
    'system:serviceaccount:{{ .Release.Namespace }}:{{ include "intel-agent.serviceAccount" . }}'
{{- end }}

{{- define "intel-agent.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "intel-agent.policyName" . | quote }}
  {{- include "intel-agent.metadata" (index . 0) | nindent 2 }}
spec:
  policyName: {{ include "intel-agent.policyName" . | quote }}
  validationActions: [Deny]
{{- end }}

{{- /* Whether the agent makes Events: not empty means yes. */}}
{{- define "intel-agent.makesEvents" -}}
{{- if (.Values.kubernetesEvents | default dict).enabled }}true{{ end }}
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
{{- if include "intel-agent.setsTaint" . }}
{{- $all = append $all (dict "key" (include "intel-agent.faultTaint" .) "operator" "Exists") }}
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
