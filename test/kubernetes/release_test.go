//go:build kubernetes

package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	zones        = 3
	nodesPerZone = 2
	zoneLabel    = "topology.kubernetes.io/zone"
)

// serving selects the pods that serve, of any release.
const serving = "app.kubernetes.io/component=gateway"

// secrets are there before a release is, as the values files want them: keys by name.
var secrets = map[string][]string{
	"gateway-clients": {"apps", "alloy", "batch", "eu-1", "eu-2", "payments", "monitor"},
	"grafana-cloud":   {"token"},
	"gateway.clients": {"payments"},
	"gateway-admin":   {"web.yaml"},
	"gateway-tls":     {"tls.crt", "tls.key"},
	"oauth":           {"secret"},
	"team":            {"name"},
}

// release is the gateway in a namespace of its own.
type release struct {
	*cluster
	t         *testing.T
	namespace string
	name      string // of the Deployment and most else
	values    []string
	before    []string // what was in the namespace before the chart
}

// prepare makes a namespace for a release, in which the restricted Pod Security Standard holds, and its Secrets.
func (c *cluster) prepare(t *testing.T, namespace string, values ...string) *release {
	t.Helper()
	c.create(t, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespace, "labels": map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}}})
	r := &release{cluster: c, t: t, namespace: namespace, name: "telemetry-gateway", values: values}
	r.prepareSecrets()
	r.before = r.everything()
	return r
}

func (r *release) prepareSecrets() {
	r.t.Helper()
	for name, keys := range secrets {
		data := map[string]string{}
		for _, key := range keys {
			data[key] = "secret-of-" + key + "-long-enough"
		}
		r.create(r.t, r.core("secrets"), map[string]any{"metadata": map[string]string{"name": name}, "stringData": data})
	}
	r.create(r.t, r.core("configmaps"), map[string]any{
		"metadata": map[string]string{"name": "company-ca"}, "data": map[string]string{"ca.crt": "a certificate"},
	})
	eventually(r.t, "the controllers have put into the namespace what is in each", func() error {
		for _, path := range []string{r.core("serviceaccounts/default"), r.core("configmaps/kube-root-ca.crt")} {
			if code, _, err := r.do(r.t, http.MethodGet, path, nil); err != nil || code != http.StatusOK {
				return fmt.Errorf("%s: %d, %w", path, code, err)
			}
		}
		return nil
	})
}

// core and group return the paths of resources in the release's namespace.
func (r *release) core(resource string) string {
	return "/api/v1/namespaces/" + r.namespace + "/" + resource
}

func (r *release) group(version, resource string) string {
	return "/apis/" + version + "/namespaces/" + r.namespace + "/" + resource
}

func (r *release) deployments() string { return r.group("apps/v1", "deployments") }

// install and upgrade run helm, with the release's values and these.
func (r *release) install(more ...string) { r.t.Helper(); r.helmRun("install", more) }
func (r *release) upgrade(more ...string) { r.t.Helper(); r.helmRun("upgrade", more) }

func (r *release) helmRun(verb string, more []string) {
	r.t.Helper()
	r.run(r.t, r.helm, append([]string{verb, "telemetry-gateway", r.chart}, r.flags(more)...)...)
}

// flags are what helm is told of a release: its namespace, its files of values, and single values of a test.
func (r *release) flags(set []string) []string {
	flags := []string{"--namespace=" + r.namespace}
	for _, file := range r.values {
		flags = append(flags, "--values="+file)
	}
	for _, value := range set {
		flags = append(flags, "--set-json="+value)
	}
	return flags
}

// run runs helm or kubectl and returns what it prints. A warning of the API server fails the test: it says which object is
// not what it should be.
func (c *cluster) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	said, warned, err := c.try(t, nil, program, args...)
	if err != nil {
		t.Fatalf("%s: %v: %.2000s", command(program, args), err, warned)
	}
	return said
}

func (c *cluster) try(t *testing.T, stdin []byte, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &problems
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig("admin"), "HOME="+c.dir,
		"HELM_CACHE_HOME="+c.path("helm"), "HELM_CONFIG_HOME="+c.path("helm"), "HELM_DATA_HOME="+c.path("helm"))
	err = cmd.Run()
	if strings.Contains(strings.ToLower(problems.String()), "warning") {
		t.Errorf("%s: %.2000s", command(program, args), problems.String())
	}
	return out.String(), problems.String(), err
}

func command(program string, args []string) string {
	return fmt.Sprintf("%s %.300s", filepath.Base(program), strings.Join(args, " "))
}

func (c *cluster) kubectl() string { return c.bin + "/kubectl" }

// everything names all there is in the namespace, but events, which go by themselves, and endpoints in their form of old.
func (r *release) everything() []string {
	r.t.Helper()
	kinds := strings.Fields(r.run(r.t, r.kubectl(), "api-resources", "--namespaced", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return kind == "endpoints" || strings.HasPrefix(kind, "events") })
	names := strings.Fields(r.run(r.t, r.kubectl(), "get", strings.Join(kinds, ","), "--namespace="+r.namespace, "--output=name"))
	slices.Sort(names)
	return names
}

// pods returns the release's pods that serve or will, without those on their way out.
func (r *release) pods() []pod {
	r.t.Helper()
	pods := get[list[pod]](r.t, r.api, r.core("pods")+"?labelSelector="+serving).Items
	return slices.DeleteFunc(pods, func(p pod) bool { return p.DeletionTimestamp != "" })
}

// uids returns who the pods are: a pod that was replaced has another one.
func (r *release) uids() []string {
	r.t.Helper()
	var uids []string
	for _, p := range r.pods() {
		uids = append(uids, p.UID)
	}
	slices.Sort(uids)
	return uids
}

// settled waits until the Deployment is done with what it was told last, with so many pods, and returns them.
func (r *release) settled(replicas int) []pod {
	r.t.Helper()
	var pods []pod
	eventually(r.t, fmt.Sprintf("%s has %d replicas", r.namespace, replicas), func() error {
		d := get[deployment](r.t, r.api, r.deployments()+"/"+r.name)
		s := d.Status
		if s.ObservedGeneration != d.Generation || d.Spec.Replicas != replicas || s.Replicas != replicas ||
			s.UpdatedReplicas != replicas || s.AvailableReplicas != replicas || s.TerminatingReplicas != 0 {
			return fmt.Errorf("generation %d, spec %+v, status %+v%s", d.Generation, d.Spec, s, r.describe())
		}
		if pods = r.pods(); len(pods) != replicas {
			return fmt.Errorf("%d pods%s", len(pods), r.describe())
		}
		return nil
	})
	return pods
}

// describe says where all pods are and how they do.
func (r *release) describe() string {
	r.t.Helper()
	var b strings.Builder
	for _, p := range get[list[pod]](r.t, r.api, r.core("pods")).Items {
		fmt.Fprintf(&b, "\n\t%s on %q, leaves at %q: %+v", p.Name, p.Spec.NodeName, p.DeletionTimestamp, p.Status)
	}
	return b.String()
}

// configuration returns gateway.yaml as the pods see it.
func (r *release) configuration() string {
	r.t.Helper()
	return get[configMap](r.t, r.api, r.core("configmaps/"+r.name)).Data["gateway.yaml"]
}

// spread fails unless the pods are over zones and nodes as evenly as can be.
func (r *release) spread(pods []pod) {
	r.t.Helper()
	zoneOf := map[string]string{}
	for _, n := range get[list[node]](r.t, r.api, "/api/v1/nodes").Items {
		zoneOf[n.Name] = n.Labels[zoneLabel]
	}
	inZone, onNode := map[string]int{}, map[string]int{}
	for _, p := range pods {
		inZone[zoneOf[p.Spec.NodeName]]++
		onNode[p.Spec.NodeName]++
	}
	even := func(what string, count map[string]int, places int) {
		r.t.Helper()
		if want := min(len(pods), places); len(count) != want || slices.Max(slices.Collect(maps.Values(count))) > (len(pods)+places-1)/places {
			r.t.Errorf("%d pods are on %d %s, want %d evenly: %v", len(pods), len(count), what, want, count)
		}
	}
	even("zones", inZone, zones)
	even("nodes", onNode, zones*nodesPerZone)
}

// reached fails unless a Service leads to all these pods, on each of its ports by name.
func (r *release) reached(name string, pods []pod) {
	r.t.Helper()
	s := get[service](r.t, r.api, r.core("services/"+name))
	var want []string
	for _, p := range pods {
		want = append(want, p.Status.PodIP)
	}
	slices.Sort(want)
	eventually(r.t, "the endpoints of "+name+" are all pods", func() error {
		var have []string
		ports := map[string]bool{}
		for _, slice := range get[list[endpointSlice]](r.t, r.api, r.endpoints()+"?labelSelector=kubernetes.io/service-name="+name).Items {
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready {
					have = append(have, e.Addresses...)
				}
			}
			for _, p := range slice.Ports {
				ports[p.Name] = p.Port != 0
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			return fmt.Errorf("addresses %v, want %v", have, want)
		}
		for _, p := range s.Spec.Ports {
			if !ports[p.Name] {
				return fmt.Errorf("no port %s: %v", p.Name, ports)
			}
		}
		if len(ports) != len(s.Spec.Ports) {
			return fmt.Errorf("ports %v, want those of %v", ports, s.Spec.Ports)
		}
		return nil
	})
}

func (r *release) endpoints() string { return r.group("discovery.k8s.io/v1", "endpointslices") }

var fileInConfiguration = regexp.MustCompile(`/etc/gateway/(secret|configmap)/([^/\s"]+)/([^/\s",\]}]+)`)

// mounted fails unless all that the configuration names is mounted in the pod, from a Secret or ConfigMap that has it: what a
// kubelet would find out.
func (r *release) mounted(p pod) {
	r.t.Helper()
	source := map[string]string{}
	for _, v := range p.Spec.Volumes {
		switch {
		case v.Projected != nil:
			r.t.Errorf("pod %s has a projected volume %s: a token that it does not need", p.Name, v.Name)
		case v.Secret != nil:
			source[v.Name] = "secret/" + v.Secret.SecretName
		case v.ConfigMap != nil:
			source[v.Name] = "configmap/" + v.ConfigMap.Name
		}
	}
	at := map[string]string{}
	for _, m := range p.Spec.Containers[0].VolumeMounts {
		at[m.MountPath] = source[m.Name]
	}
	files := fileInConfiguration.FindAllStringSubmatch(r.configuration(), -1)
	if len(files) == 0 {
		r.t.Error("the configuration names no file")
	}
	for _, file := range files {
		kind, name, key := file[1], file[2], file[3]
		if from := at["/etc/gateway/"+kind+"/"+name]; from != kind+"/"+name {
			r.t.Errorf("%s is not mounted from %s %s but from %q", file[0], kind, name, from)
			continue
		}
		if _, ok := get[configMap](r.t, r.api, r.core(kind+"s/"+name)).Data[key]; !ok {
			r.t.Errorf("%s: no key %s in %s %s", file[0], key, kind, name)
		}
	}
}

// strict fails unless the API server takes manifests without a word: no field that it does not know, none twice, nothing
// that is deprecated or that the Pod Security Standard warns of. Nothing is stored.
func (r *release) strict(manifests string) {
	r.t.Helper()
	_, said, err := r.try(r.t, []byte(manifests), r.kubectl(), "apply", "--server-side", "--dry-run=server", "--validate=strict",
		"--namespace="+r.namespace, "--filename=-")
	if err != nil {
		r.t.Errorf("the API server refuses: %v: %.2000s", err, said)
	}
}

// patch changes an object by a JSON merge patch.
func (r *release) patch(resource string, change any) {
	r.t.Helper()
	raw, err := json.Marshal(change)
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(r.t, r.kubectl(), "patch", resource, "--namespace="+r.namespace, "--type=merge", "--patch="+string(raw))
}
