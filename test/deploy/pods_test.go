package deploy_test

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// pod is the part of a pod that the restricted Pod Security Standard is about, and what rollouts hang on.
type pod struct {
	AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
	TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int64                 `yaml:"runAsUser"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container
	Volumes        []map[string]any
	HostNetwork    bool `yaml:"hostNetwork"`
	HostPID        bool `yaml:"hostPID"`
	HostIPC        bool `yaml:"hostIPC"`
}

type container struct {
	Name            string
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		Privileged               bool
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Add, Drop []string }
	} `yaml:"securityContext"`
	Ports []struct {
		HostPort int `yaml:"hostPort"`
	}
}

// TestPodIsRestricted: the pod passes the restricted Pod Security Standard, and more than that: its root is read-only, it
// has no token of a service account, and nothing of the node is mounted.
func TestPodIsRestricted(t *testing.T) {
	var deployment struct {
		Spec struct {
			Template struct{ Spec pod }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/kustomize/base/deployment-telemetry-gateway.yaml")), &deployment); err != nil {
		t.Fatal(err)
	}
	p := deployment.Spec.Template.Spec
	must := func(ok bool, what string) {
		t.Helper()
		if !ok {
			t.Error(what)
		}
	}
	must(p.SecurityContext.RunAsNonRoot && p.SecurityContext.RunAsUser == 65532, "the pod may run as root")
	must(p.SecurityContext.SeccompProfile.Type == "RuntimeDefault", "the pod has no seccomp profile")
	must(p.AutomountServiceAccountToken != nil && !*p.AutomountServiceAccountToken, "the pod has a token")
	must(!p.HostNetwork && !p.HostPID && !p.HostIPC, "the pod shares something with its node")
	must(p.TerminationGracePeriodSeconds == 5+30+10, "the grace period is not drain_delay + drain_timeout + 10")
	containers := slices.Concat(p.InitContainers, p.Containers)
	must(len(containers) == 2, "the pod has not the two containers check and gateway")
	for _, c := range containers {
		s := c.SecurityContext
		must(s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation && !s.Privileged, c.Name+" may gain privileges")
		must(len(s.Capabilities.Add) == 0 && slices.Equal(s.Capabilities.Drop, []string{"ALL"}), c.Name+" keeps capabilities")
		must(s.ReadOnlyRootFilesystem, c.Name+" may write to its root")
		for _, port := range c.Ports {
			must(port.HostPort == 0, c.Name+" takes a port of its node")
		}
	}
	for _, v := range p.Volumes {
		_, fromConfigMap := v["configMap"]
		_, fromSecret := v["secret"]
		must(len(v) == 2 && (fromConfigMap || fromSecret), "a volume is neither a ConfigMap nor a Secret")
	}
}
