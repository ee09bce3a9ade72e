// Command genschemas writes the JSON schemas that the manifests of deploy/ are checked with, one file for each kind that
// they use, in the form kubeconform reads. It takes them from the Go modules of Kubernetes, the Prometheus operator and
// the Gateway API, at the versions below, and nothing else: the check itself then needs no network. People run it when
// they raise a version: go run ./test/deploy/genschemas. Nothing calls it in a test.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	kubernetes = "k8s.io/kubernetes@v1.37.2"
	operator   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	gatewayAPI = "sigs.k8s.io/gateway-api@v1.6.3"
)

// builtin are Kubernetes' own kinds, by the name of their definition.
var builtin = map[string]string{
	"configmap-v1":                           "io.k8s.api.core.v1.ConfigMap",
	"secret-v1":                              "io.k8s.api.core.v1.Secret",
	"service-v1":                             "io.k8s.api.core.v1.Service",
	"serviceaccount-v1":                      "io.k8s.api.core.v1.ServiceAccount",
	"namespace-v1":                           "io.k8s.api.core.v1.Namespace",
	"pod-v1":                                 "io.k8s.api.core.v1.Pod",
	"deployment-apps-v1":                     "io.k8s.api.apps.v1.Deployment",
	"horizontalpodautoscaler-autoscaling-v2": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
	"poddisruptionbudget-policy-v1":          "io.k8s.api.policy.v1.PodDisruptionBudget",
	"networkpolicy-networking-v1":            "io.k8s.api.networking.v1.NetworkPolicy",
	"ingress-networking-v1":                  "io.k8s.api.networking.v1.Ingress",
}

// custom are kinds of others, by the file of their CustomResourceDefinition.
var custom = map[string]struct{ module, file, version string }{
	"servicemonitor-monitoring-v1": {operator, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml", "v1"},
	"prometheusrule-monitoring-v1": {operator, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml", "v1"},
	"httproute-gateway-v1":         {gatewayAPI, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "v1"},
	"grpcroute-gateway-v1":         {gatewayAPI, "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml", "v1"},
}

func main() {
	if err := run("test/deploy/schemas"); err != nil {
		fmt.Fprintln(os.Stderr, "genschemas:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, err := download(kubernetes)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		return err
	}
	var swagger struct{ Definitions map[string]any }
	if err := json.Unmarshal(raw, &swagger); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(builtin)) {
		s, err := inline(swagger.Definitions, builtin[name], nil)
		if err != nil {
			return err
		}
		if err := write(out, name, s); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		s, err := fromCRD(custom[name].module, custom[name].file, custom[name].version)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := write(out, name, s); err != nil {
			return err
		}
	}
	return nil
}

// download returns the folder of a module.
func download(module string) (string, error) {
	said, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s", module, err, said)
	}
	var m struct{ Dir string }
	err = json.Unmarshal(said, &m)
	return m.Dir, err
}

// inline returns a definition with everything it refers to put in its place.
func inline(definitions map[string]any, name string, above []string) (any, error) {
	d, ok := definitions[name].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no definition %s", name)
	}
	switch {
	case slices.Contains(above, name):
		return map[string]any{"type": "object"}, nil // it contains itself: not looked into
	case strings.HasSuffix(name, ".IntOrString"):
		return map[string]any{"type": []any{"integer", "string"}}, nil
	case strings.HasSuffix(name, ".Quantity"):
		return map[string]any{"type": []any{"number", "string"}}, nil
	}
	return walk(d, func(ref string) (any, error) {
		return inline(definitions, strings.TrimPrefix(ref, "#/definitions/"), append(slices.Clone(above), name))
	})
}

// fromCRD returns the schema of one version of a CustomResourceDefinition.
func fromCRD(module, file, version string) (any, error) {
	dir, err := download(module)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return nil, err
	}
	for _, v := range crd.Spec.Versions {
		if v.Name == version {
			return walk(v.Schema.OpenAPIV3Schema, nil)
		}
	}
	return nil, fmt.Errorf("%s has no version %s", file, version)
}

// kept are the keywords that decide whether a manifest is valid. Texts, defaults and what only a server can judge go.
var kept = []string{
	"type", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
	"minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "not",
}

// walk copies a schema with what is kept of it. Objects allow no other properties than those they list: a misspelled key
// must not pass.
func walk(s map[string]any, resolve func(ref string) (any, error)) (any, error) {
	if ref, ok := s["$ref"].(string); ok {
		return resolve(ref)
	}
	if s["x-kubernetes-int-or-string"] == true {
		return map[string]any{"type": []any{"integer", "string"}}, nil
	}
	out := map[string]any{}
	for _, k := range kept {
		if v, ok := s[k]; ok {
			out[k] = v
		}
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		list := map[string]any{}
		for name, p := range properties {
			v, err := walk(p.(map[string]any), resolve)
			if err != nil {
				return nil, err
			}
			list[name] = v
		}
		out["properties"] = list
		if s["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
	}
	for _, k := range []string{"items", "additionalProperties"} {
		if sub, ok := s[k].(map[string]any); ok {
			v, err := walk(sub, resolve)
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
	}
	return out, nil
}

func write(dir, name string, schema any) error {
	raw, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(raw, '\n'), 0o644)
}
