package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Changed returns the key paths that differ between two configurations, in order. A section that only one of them has is
// one path. Values are compared, never returned; the content of files that the configuration names is not looked at.
func Changed(old, changed *Config) []string {
	d := dumper{}
	return differ(nil, d.node(reflect.ValueOf(old).Elem()), d.node(reflect.ValueOf(changed).Elem()), "")
}

// fixed are the keys that a running process cannot change. Who is pinned to a listener is not among them.
var fixed = regexp.MustCompile(`^server\.((http|grpc)_listen(\[\d+\]\.address)?|admin_listen|admin_web_config_file|max_connections|max_series)$`)

// NeedRestart returns those of changed, as Changed returned them, that take effect only after a restart.
func NeedRestart(changed []string) []string {
	var keys []string
	for _, k := range changed {
		if fixed.MatchString(k) {
			keys = append(keys, k)
		}
	}
	return keys
}

func differ(paths []string, a, b *yaml.Node, path string) []string {
	switch {
	case a.Kind != b.Kind || a.Kind == yaml.ScalarNode && a.Value != b.Value ||
		a.Kind == yaml.SequenceNode && len(a.Content) != len(b.Content):
		return append(paths, path)
	case a.Kind == yaml.SequenceNode:
		for i := range a.Content {
			paths = differ(paths, a.Content[i], b.Content[i], path+"["+strconv.Itoa(i)+"]")
		}
	case a.Kind == yaml.MappingNode:
		before, after := index(a), index(b)
		names := slices.Sorted(maps.Keys(before))
		for name := range after {
			if before[name] == nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			if before[name] == nil || after[name] == nil {
				paths = append(paths, join(path, name))
				continue
			}
			paths = differ(paths, before[name], after[name], join(path, name))
		}
	}
	return paths
}

func index(n *yaml.Node) map[string]*yaml.Node {
	m := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		m[n.Content[i].Value] = n.Content[i+1]
	}
	return m
}
