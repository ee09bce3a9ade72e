//go:build kubernetes

// Package kubernetes_test installs the chart and the overlays of deploy/ in a real control plane, of which only the kubelets are
// pretended (kwok): Kubernetes itself says whether it takes every object under the restricted Pod Security Standard, rolls
// pods without a gap, spreads, scales and protects them. No gateway runs here: what one does when it is started, drained or
// reloaded is tested elsewhere. test/kubernetes/run.sh builds Kubernetes, names it in the environment, and runs this; that
// is why it has a build tag. Linux only: what it starts must not outlive it.
package kubernetes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestKubernetes(t *testing.T) {
	c := start(t)
	c.nodes(t)
	c.definitions(t)

	t.Run("Restricted", func(t *testing.T) { t.Parallel(); restricted(t, c) })
	for name, file := range map[string]string{
		"dev": example("dev"), "staging": example("staging"), "prod": example("prod"), "everything": "../deploy/values/everything.yaml",
	} {
		t.Run("Install/"+name, func(t *testing.T) { t.Parallel(); installs(t, c, name, file) })
	}
	t.Run("Reload", func(t *testing.T) { t.Parallel(); reloads(t, c) })
	t.Run("Rollout", func(t *testing.T) { t.Parallel(); rolls(t, c) })
	t.Run("BadRollout", func(t *testing.T) { t.Parallel(); stops(t, c) })
	t.Run("Scale", func(t *testing.T) { t.Parallel(); scales(t, c) })
	t.Run("Autoscaler", func(t *testing.T) { t.Parallel(); autoscales(t, c) })
	t.Run("Eviction", func(t *testing.T) { t.Parallel(); evicts(t, c) })
	t.Run("Kustomize", func(t *testing.T) { t.Parallel(); overlays(t, c) })
}

func example(name string) string { return "../../deploy/values/" + name + ".yaml" }

// nodes makes what pods are put on.
func (c *cluster) nodes(t *testing.T) {
	t.Helper()
	room := map[string]string{"cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110"}
	for zone := range zones {
		for i := range nodesPerZone {
			name := fmt.Sprintf("node-%c%d", 'a'+zone, i)
			c.create(t, "/api/v1/nodes", map[string]any{
				"metadata": map[string]any{"name": name, "labels": map[string]string{
					zoneLabel: string(rune('a' + zone)), "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
				}},
				"status": map[string]any{"capacity": room, "allocatable": room},
			})
		}
	}
	eventually(t, "all nodes are ready", func() error {
		for _, n := range get[list[node]](t, c.api, "/api/v1/nodes").Items {
			if !is(n.Status.Conditions, "Ready", "True") {
				return fmt.Errorf("%s: %+v", n.Name, n.Status)
			}
		}
		return nil
	})
}

// definitions brings the kinds that others define: of the Prometheus operator and the Gateway API.
func (c *cluster) definitions(t *testing.T) {
	t.Helper()
	for _, file := range strings.Fields(env(t, "DEFINITIONS")) {
		c.run(t, c.kubectl(), "apply", "--server-side", "--filename="+file)
		c.run(t, c.kubectl(), "wait", "--for=condition=Established", "--timeout=60s", "--filename="+file)
	}
}

// restricted proves that the standard is in force where the chart is installed: without it, the rest would prove little.
func restricted(t *testing.T, c *cluster) {
	r := c.prepare(t, "restricted")
	code, said, err := r.do(t, http.MethodPost, r.core("pods"), map[string]any{
		"metadata": map[string]string{"name": "careless"},
		"spec":     map[string]any{"containers": []any{map[string]string{"name": "careless", "image": "registry.example.com/careless"}}},
	})
	if err != nil || code != http.StatusForbidden || !strings.Contains(string(said), `violates PodSecurity \"restricted`) {
		t.Errorf("a pod without a security context: %v, %d: %.500s", err, code, said)
	}
}
