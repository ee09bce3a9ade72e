//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// reloads proves that what a running gateway can reload replaces no pod.
func reloads(t *testing.T, c *cluster) {
	r := c.prepare(t, "reload", example("staging"))
	r.install()
	before := r.settled(2)
	generation := r.generation()
	uids := r.uids()

	r.upgrade(`environments.staging.clients.newcomer={"bearer_token_file": {"secret": "gateway-clients", "key": "apps"}}`,
		`server.request_timeout="20s"`)
	r.settled(2)
	if !strings.Contains(r.configuration(), "newcomer") {
		t.Error("the new client is not in the ConfigMap")
	}
	r.patch("secret/grafana-cloud", map[string]any{"stringData": map[string]string{"token": "another-token-of-the-cloud"}})
	if got := r.generation(); got != generation {
		t.Errorf("the Deployment is at generation %d after a change of configuration, was at %d", got, generation)
	}
	if got := r.uids(); !slices.Equal(got, uids) {
		t.Errorf("pods are %v after a change of configuration, were %v", got, uids)
	}
	r.mounted(before[0])
}

func (r *release) generation() int {
	r.t.Helper()
	return get[deployment](r.t, r.api, r.deployments()+"/"+r.name).Generation
}

// rolls proves that new pods take over from old ones without a gap: for a new image, for a key that only a start reads, and
// back.
func rolls(t *testing.T, c *cluster) {
	r := c.prepare(t, "rollout", example("staging"))
	r.install("replicas=3")
	r.settled(3)

	f := func(what string, change func(), image string) {
		t.Helper()
		old := r.uids()
		watched := r.watch()
		change()
		pods := r.settled(3)
		watched.check(what, 3)
		for _, p := range pods {
			if got := p.Spec.Containers[0].Image; !strings.HasSuffix(got, image) {
				t.Errorf("%s: pod %s has image %s, want %s", what, p.Name, got, image)
			}
			if slices.Contains(old, p.UID) {
				t.Errorf("%s: pod %s is from before", what, p.Name)
			}
		}
		r.spread(pods)
		r.reached(r.name, pods)
	}
	f("a new image", func() { r.upgrade("replicas=3", `image.tag="0.2.0"`) }, ":0.2.0")
	f("another max_series", func() { r.upgrade("replicas=3", `image.tag="0.2.0"`, "server.max_series=2000000") }, ":0.2.0")
	f("a rollback", func() { r.run(t, r.helm, "rollback", "telemetry-gateway", "1", "--namespace="+r.namespace) }, ":0.1.0")
}

// stops proves that pods which do not become ready replace none that is.
func stops(t *testing.T, c *cluster) {
	r := c.prepare(t, "bad-rollout", example("staging"))
	r.install()
	pods := r.settled(2)
	uids := r.uids()

	watched := r.watch()
	r.upgrade(`podAnnotations={"test/never-ready": "true"}`)
	eventually(t, "the rollout is under way", func() error {
		s := get[deployment](t, r.api, r.deployments()+"/"+r.name).Status
		if s.ObservedGeneration != 2 || s.UpdatedReplicas != 1 {
			return fmt.Errorf("status %+v", s)
		}
		for _, p := range r.pods() {
			if p.Status.PodIP == "" {
				return fmt.Errorf("pod %s has not started", p.Name)
			}
		}
		return nil
	})
	r.reached(r.name, pods)
	r.run(t, r.helm, "rollback", "telemetry-gateway", "1", "--namespace="+r.namespace)
	r.settled(2)
	watched.check("a bad rollout and its end", 2)
	if got := r.uids(); !slices.Equal(got, uids) {
		t.Errorf("pods are %v after a rollout that went back, were %v", got, uids)
	}
}

// watched is what could be seen while something happened to a release: by Kubernetes, and by its senders.
type watched struct {
	t    *testing.T
	stop []func()

	mu        sync.Mutex // guards what follows
	pods      map[string]pod
	endpoints map[string]endpointSlice
	states    []state
}

// state is one moment.
type state struct{ pods, serving, reachable int }

// watch looks at a release until check.
func (r *release) watch() *watched {
	r.t.Helper()
	w := &watched{t: r.t, pods: map[string]pod{}, endpoints: map[string]endpointSlice{}}
	w.stop = append(w.stop,
		each(r.t, r.api, r.core("pods"), serving, func(gone bool, p pod) { note(w, w.pods, gone, p.Name, p) }),
		each(r.t, r.api, r.endpoints(), "kubernetes.io/service-name="+r.name, func(gone bool, s endpointSlice) {
			note(w, w.endpoints, gone, s.Name, s)
		}))
	// What there was when the watches began came one at a time: only from now on a moment is whole.
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = []state{w.now()}
	return w
}

func note[T any](w *watched, what map[string]T, gone bool, name string, object T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what[name] = object
	if gone {
		delete(what, name)
	}
	w.states = append(w.states, w.now())
}

func (w *watched) now() state {
	var s state
	for _, p := range w.pods {
		if p.DeletionTimestamp == "" {
			s.pods++
		}
		if p.serves() {
			s.serving++
		}
	}
	for _, slice := range w.endpoints {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready {
				s.reachable++
			}
		}
	}
	return s
}

// check fails if there was a moment with fewer pods that serve, or that senders reach, than replicas; or with more than one
// pod too many.
func (w *watched) check(what string, replicas int) {
	w.t.Helper()
	w.end(what, func(s state) bool { return s.serving >= replicas && s.reachable >= replicas && s.pods <= replicas+1 })
}

// end stops looking, and fails for every moment that was not as it should be.
func (w *watched) end(what string, good func(state) bool) {
	w.t.Helper()
	for _, stop := range w.stop {
		stop()
	}
	if len(w.states) < 4 {
		w.t.Errorf("%s: only %d moments were seen", what, len(w.states))
	}
	for i, s := range w.states {
		if !good(s) {
			w.t.Errorf("%s: moment %d of %d had %+v", what, i, len(w.states), s)
		}
	}
}
