//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"net/http"
	"testing"
)

// overlays does with the overlays what installs does with the chart. They bring their namespace, all of them the same one.
func overlays(t *testing.T, c *cluster) {
	const base, namespace = "../../deploy/kustomize/base", "telemetry"
	for _, name := range []string{"dev", "staging", "prod"} {
		t.Run(name, func(t *testing.T) {
			overlay := "../../deploy/kustomize/overlays/" + name
			r := &release{cluster: c, t: t, namespace: namespace, name: "telemetry-gateway"}
			r.run(t, r.kubectl(), "apply", "--filename="+base+"/namespace.yaml")
			r.prepareSecrets()
			r.run(t, r.kubectl(), "apply", "--server-side", "--validate=strict", "--kustomize="+overlay)
			r.stands(name)

			// A second time changes nothing: the server has stored what the files say.
			generation := r.generation()
			r.run(t, r.kubectl(), "apply", "--server-side", "--validate=strict", "--kustomize="+overlay)
			if got := r.generation(); got != generation {
				t.Errorf("applied again, the Deployment is at generation %d, was at %d", got, generation)
			}

			r.run(t, r.kubectl(), "delete", "--wait=false", "--kustomize="+overlay)
			eventually(t, "the namespace is gone", func() error {
				code, said, err := r.do(t, http.MethodGet, "/api/v1/namespaces/"+namespace, nil)
				if err != nil || code != http.StatusNotFound {
					return fmt.Errorf("%d, %w: %.300s", code, err, said)
				}
				return nil
			})
		})
	}
}
