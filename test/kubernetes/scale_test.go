//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// scales proves that replicas come and go by hand, over all zones, and that senders are led to all of them.
func scales(t *testing.T, c *cluster) {
	r := c.prepare(t, "scale", example("staging"))
	r.install()
	r.settled(2)
	for _, replicas := range []int{6, 1} {
		r.run(t, r.kubectl(), "scale", "deployment/"+r.name, fmt.Sprintf("--replicas=%d", replicas), "--namespace="+r.namespace)
		pods := r.settled(replicas)
		r.reached(r.name, pods)
		if replicas == 6 { // those that stay are not moved
			r.spread(pods)
		}
	}
}

// autoscales proves that the autoscaler takes its object and holds its bounds, also where nobody serves metrics; and that an
// upgrade takes no replica away from it.
func autoscales(t *testing.T, c *cluster) {
	r := c.prepare(t, "autoscaler", example("prod"))
	r.install()
	r.settled(3)
	eventually(t, "the autoscaler says what it misses", func() error {
		conditions := get[autoscaler](t, r.api, r.group("autoscaling/v2", "horizontalpodautoscalers/"+r.name)).Status.Conditions
		for _, c := range conditions {
			if strings.HasPrefix(c.Reason, "Invalid") || strings.HasPrefix(c.Reason, "Ambiguous") {
				t.Fatalf("the autoscaler does not take its object: %+v", c)
			}
			if c.Type == "ScalingActive" && c.Status == "False" && strings.HasPrefix(c.Reason, "FailedGet") && is(conditions, "AbleToScale", "True") {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", conditions)
	})

	watched := r.watch()
	r.upgrade("autoscaling.minReplicas=5")
	r.spread(r.settled(5))
	r.upgrade("autoscaling.minReplicas=5", `server.request_timeout="20s"`)
	r.settled(5)
	if got := r.generation(); got != 3 { // made; scaled to 3; scaled to 5
		t.Errorf("the Deployment is at generation %d: somebody but the autoscaler has changed it", got)
	}
	watched.end("more replicas, then an upgrade", func(s state) bool { return s.serving >= 3 && s.reachable >= 3 && s.pods <= 5 })
}

// evicts proves that a drain of nodes takes one pod, and the next only when there is another in its place.
func evicts(t *testing.T, c *cluster) {
	r := c.prepare(t, "eviction", example("staging"))
	r.install()
	r.settled(2)
	r.protected(2)

	// With a quota of none, nothing takes the place of what is evicted: as on nodes that are full.
	quota := r.core("resourcequotas")
	r.create(t, quota, map[string]any{"metadata": map[string]string{"name": "none"}, "spec": map[string]any{"hard": map[string]string{"pods": "0"}}})
	eventually(t, "the quota is in force", func() error {
		code, said, err := r.do(t, http.MethodGet, quota+"/none", nil)
		if err != nil || !strings.Contains(string(said), `"used":{"pods":"2"}`) {
			return fmt.Errorf("%d, %w: %.500s", code, err, said)
		}
		return nil
	})
	uids := r.uids()
	pods := r.pods()
	if code, said := r.evict(pods[0].Name); code != http.StatusCreated {
		t.Fatalf("the first eviction: %d: %.500s", code, said)
	}
	refused := func() {
		t.Helper()
		if code, said := r.evict(pods[1].Name); code != http.StatusTooManyRequests || !strings.Contains(said, "disruption budget") {
			t.Errorf("the second eviction: %d: %.500s", code, said)
		}
	}
	refused()
	eventually(t, "the first pod has left", func() error {
		if all := get[list[pod]](t, r.api, r.core("pods")+"?labelSelector="+serving).Items; len(all) != 1 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
	refused()

	r.remove(t, quota+"/none")
	pods = r.settled(2)
	r.protected(2)
	r.spread(pods)
	if slices.Equal(r.uids(), uids) {
		t.Error("the pods are those from before")
	}
	if code, said := r.evict(pods[0].Name); code != http.StatusCreated {
		t.Errorf("an eviction with all pods ready: %d: %.500s", code, said)
	}
}

func (r *release) evict(name string) (int, string) {
	r.t.Helper()
	code, said, err := r.do(r.t, http.MethodPost, r.core("pods/"+name+"/eviction"), map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction", "metadata": map[string]string{"name": name, "namespace": r.namespace},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return code, string(said)
}
