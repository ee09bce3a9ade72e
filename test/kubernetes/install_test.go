//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// replicas are what each file of values asks for; the autoscaler's least, where it has one.
var replicas = map[string]int{"dev": 1, "staging": 2, "prod": 3, "everything": 2}

// installs puts one file of values in place, looks at all that the controllers make of it, and takes it away again.
func installs(t *testing.T, c *cluster, name, file string) {
	r := c.prepare(t, "install-"+name, file)
	if name == "everything" {
		r.name = "gw"
	}
	version := get[struct{ GitVersion string }](t, r.api, "/version").GitVersion
	r.strict(r.run(t, r.helm, append([]string{"template", "telemetry-gateway", r.chart, "--no-hooks", "--kube-version=" + version}, r.flags(nil)...)...))
	r.install()
	r.stands(name)
	r.strict(r.run(t, r.helm, "get", "hooks", "telemetry-gateway", "--namespace="+r.namespace))
	r.run(t, r.helm, "test", "telemetry-gateway", "--namespace="+r.namespace, "--timeout=60s")

	r.run(t, r.helm, "uninstall", "telemetry-gateway", "--namespace="+r.namespace)
	eventually(t, "nothing is left of the release", func() error {
		if left := r.everything(); !slices.Equal(left, r.before) {
			return fmt.Errorf("%v, before it was %v", left, r.before)
		}
		return nil
	})
}

// stands fails unless the controllers have made of the values called name what they are for.
func (r *release) stands(name string) {
	r.t.Helper()
	pods := r.settled(replicas[name])
	r.spread(pods)
	r.reached(r.name, pods)
	r.reached(r.name+"-admin", pods)
	r.mounted(pods[0])
	r.shielded(pods)
	r.protected(len(pods))
	if name != "dev" {
		r.monitored()
	}
}

// shielded fails unless the NetworkPolicy holds for the pods, and its ports are theirs: of a name that no container has,
// Kubernetes says nothing and lets nobody in.
func (r *release) shielded(pods []pod) {
	r.t.Helper()
	policy := get[networkPolicy](r.t, r.api, r.group("networking.k8s.io/v1", "networkpolicies/"+r.name))
	for _, p := range pods {
		for key, value := range policy.Spec.PodSelector.MatchLabels {
			if p.Labels[key] != value {
				r.t.Errorf("the NetworkPolicy is not for pod %s: %s is %q, not %q", p.Name, key, p.Labels[key], value)
			}
		}
	}
	open := map[any]bool{}
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			open[p.Port] = true
		}
	}
	for _, p := range pods[0].Spec.Containers[0].Ports {
		if !open[p.Name] {
			r.t.Errorf("the NetworkPolicy lets nobody to port %s", p.Name)
		}
		delete(open, p.Name)
	}
	if len(open) != 0 {
		r.t.Errorf("the NetworkPolicy has ports that the pods do not: %v", open)
	}
}

// protected waits until the budget's controller counts so many pods and would let one go.
func (r *release) protected(pods int) {
	r.t.Helper()
	eventually(r.t, "the PodDisruptionBudget knows the pods", func() error {
		s := get[disruptionBudget](r.t, r.api, r.group("policy/v1", "poddisruptionbudgets/"+r.name)).Status
		if s.ExpectedPods != pods || s.CurrentHealthy != pods || s.DisruptionsAllowed != 1 {
			return fmt.Errorf("%+v, want %d pods and one that may go", s, pods)
		}
		return nil
	})
}

// monitored fails unless the ServiceMonitor selects one Service, which has its port.
func (r *release) monitored() {
	r.t.Helper()
	m := get[serviceMonitor](r.t, r.api, r.group("monitoring.coreos.com/v1", "servicemonitors/"+r.name))
	var labels []string
	for key, value := range m.Spec.Selector.MatchLabels {
		labels = append(labels, key+"="+value)
	}
	services := get[list[service]](r.t, r.api, r.core("services")+"?labelSelector="+url.QueryEscape(strings.Join(labels, ","))).Items
	if len(services) != 1 || len(m.Spec.Endpoints) != 1 || services[0].Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
		r.t.Errorf("the ServiceMonitor selects %v for its endpoints %v", services, m.Spec.Endpoints)
	}
}
