// Command manifests works on Kubernetes manifests as data. deploy/render.sh and test/deploy/run.sh call it:
//
//	manifests split DIR WANT... < rendered    write each object of a wanted kind into a file of DIR
//	manifests config < rendered               print gateway.yaml out of the ConfigMap that has it
//	manifests same A B                        fail unless both files have the same objects
//
// Labels that only Helm writes are left out everywhere. It never talks to a cluster.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 2 && args[0] == "split":
		return split(os.Stdin, args[1], args[2:])
	case len(args) == 1 && args[0] == "config":
		return config(os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "same":
		return same(args[1], args[2])
	}
	return errors.New("usage: manifests split DIR KIND... | config | same A B")
}

type object map[string]any

func (o object) str(path ...string) string {
	var v any = map[string]any(o)
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

func (o object) key() string { return o.str("kind") + "/" + o.str("metadata", "name") }

// load reads all objects of a stream, without what Helm alone adds: its labels, and tests, which are no part of the release.
func load(r io.Reader) ([]object, error) {
	var list []object
	for d := yaml.NewDecoder(r); ; {
		var doc map[string]any
		if err := d.Decode(&doc); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		o := object(doc)
		if o == nil || o.str("metadata", "annotations", "helm.sh/hook") != "" {
			continue
		}
		if labels, ok := o["metadata"].(map[string]any)["labels"].(map[string]any); ok {
			delete(labels, "helm.sh/chart")
			delete(labels, "app.kubernetes.io/managed-by")
		}
		list = append(list, o)
	}
}

// split writes the objects of kinds into dir, without a namespace: an overlay names it. The kind of a ConfigMap other than
// the gateway's is Dashboard here.
func split(r io.Reader, dir string, kinds []string) error {
	list, err := load(r)
	if err != nil {
		return err
	}
	for _, o := range list {
		kind := o.str("kind")
		if kind == "ConfigMap" && o.str("data", "gateway.yaml") == "" {
			kind = "Dashboard"
		}
		if !slices.Contains(kinds, kind) {
			continue
		}
		delete(o["metadata"].(map[string]any), "namespace")
		var out bytes.Buffer
		out.WriteString("# Rendered from deploy/helm by deploy/render.sh: change the chart, not this.\n")
		e := yaml.NewEncoder(&out)
		e.SetIndent(2)
		if err := e.Encode(map[string]any(o)); err != nil {
			return err
		}
		name := strings.ToLower(o.str("kind") + "-" + o.str("metadata", "name") + ".yaml")
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// config prints gateway.yaml.
func config(r io.Reader, w io.Writer) error {
	list, err := load(r)
	if err != nil {
		return err
	}
	for _, o := range list {
		if text := o.str("data", "gateway.yaml"); text != "" {
			_, err := io.WriteString(w, text)
			return err
		}
	}
	return errors.New("no ConfigMap has gateway.yaml")
}

// same compares two files object by object. Namespaces themselves do not count: a chart does not make its own.
func same(a, b string) error {
	read := func(path string) (map[string]object, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list, err := load(f)
		byKey := map[string]object{}
		for _, o := range list {
			if o.str("kind") != "Namespace" {
				byKey[o.key()] = o
			}
		}
		if err == nil && len(byKey) == 0 {
			err = errors.New("has no objects")
		}
		return byKey, err
	}
	left, err := read(a)
	if err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	right, err := read(b)
	if err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	all := maps.Clone(left)
	maps.Copy(all, right)
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch l, r := left[key], right[key]; {
		case l == nil:
			faults = append(faults, key+": only in "+b)
		case r == nil:
			faults = append(faults, key+": only in "+a)
		default:
			faults = append(faults, differences(key, map[string]any(l), map[string]any(r))...)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s and %s differ:\n%s", a, b, strings.Join(faults, "\n"))
	}
	return nil
}

// differences names every place where two values differ. Order counts in lists, but for those that Kubernetes merges by name.
func differences(path string, a, b any) []string {
	var faults []string
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if aok && bok {
		keys := maps.Clone(am)
		maps.Copy(keys, bm)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			faults = append(faults, differences(path+"."+k, am[k], bm[k])...)
		}
		return faults
	}
	al, aok := byName(a)
	bl, bok := byName(b)
	if aok && bok {
		return differences(path, al, bl)
	}
	if as, ok := a.(string); ok {
		if bs, ok := b.(string); ok {
			a, b = firstDifference(as, bs)
		}
	}
	if !reflect.DeepEqual(a, b) {
		return []string{fmt.Sprintf("%s: %v, and %v", path, a, b)}
	}
	return nil
}

// firstDifference returns the first lines in which two texts differ.
func firstDifference(a, b string) (string, string) {
	al, bl := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(al), len(bl)) {
		switch {
		case i >= len(al):
			return "", bl[i]
		case i >= len(bl):
			return al[i], ""
		case al[i] != bl[i]:
			return al[i], bl[i]
		}
	}
	return "", ""
}

// byName turns a list of objects with names into a map of them.
func byName(v any) (map[string]any, bool) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	m := map[string]any{}
	for _, e := range list {
		o, _ := e.(map[string]any)
		name, _ := o["name"].(string)
		if name == "" || m[name] != nil {
			return nil, false
		}
		m[name] = e
	}
	return m, true
}
