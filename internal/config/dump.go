package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// masked is what stands for a secret in a dump.
const masked = "<secret>"

// Masked returns the effective configuration as YAML: every key with its value or default, paths absolute, and <secret>
// for whatever is or may hold a secret.
func (c *Config) Masked() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(dumper{mask: true}.node(reflect.ValueOf(c).Elem())); err != nil {
		return nil, fmt.Errorf("dump config: %w", err)
	}
	return out.Bytes(), nil
}

// MarshalYAML shows u without its secrets. Prometheus' structs alone would show header values and the proxy's password.
func (u Upstream) MarshalYAML() (any, error) { return dumper{mask: true}.node(reflect.ValueOf(u)), nil }

// MarshalJSON is MarshalYAML for JSON, and for slog.
func (u Upstream) MarshalJSON() ([]byte, error) {
	var v any
	if err := (dumper{mask: true}).node(reflect.ValueOf(u)).Decode(&v); err != nil {
		return nil, fmt.Errorf("dump upstream: %w", err)
	}
	return json.Marshal(v)
}

// Format is MarshalJSON for every verb of fmt.
func (u Upstream) Format(f fmt.State, _ rune) {
	text, err := u.MarshalJSON()
	if err != nil {
		text = []byte(masked)
	}
	f.Write(text) // fmt keeps the error of its own writer
}

// dumper turns configuration back into YAML.
type dumper struct{ mask bool }

// secret is the value that stands for s.
func (d dumper) secret(s string) string {
	if d.mask && s != "" {
		return masked
	}
	return s
}

// node returns v as the file would have it, nil for what the file would leave out.
func (d dumper) node(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case Bytes:
		return scalar("!!str", x.String())
	case Duration:
		return scalar("!!str", x.String())
	case promconfig.Secret:
		return text(d.secret(string(x)))
	case promconfig.URL:
		return text(d.url(x.URL))
	case promconfig.TLSVersion:
		return text(x.String())
	case relabel.Regexp:
		if x.IsZero() {
			return nil // some actions want none, and would take the default, written out, for one
		}
		return text(x.String())
	case promconfig.Header:
		return d.header(x)
	case Listener:
		if d.mask && x.Environment == "" && x.Client == "" {
			return text(x.Address)
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return d.node(v.Elem())
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		d.fields(n, v)
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		d.entries(n, v)
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, d.node(v.Index(i)))
		}
		return n
	case reflect.String:
		return text(v.String())
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		return scalar("!!int", strconv.FormatInt(v.Int(), 10))
	case reflect.Uint64:
		return scalar("!!int", strconv.FormatUint(v.Uint(), 10))
	case reflect.Float64:
		return scalar("", strconv.FormatFloat(v.Float(), 'g', -1, 64)) // a tag would be written out where the value reads as an int
	}
	panic("BUG: cannot dump " + v.Type().String())
}

// fields appends the keys of struct v, those of its inlined structs too, to n.
func (d dumper) fields(n *yaml.Node, v reflect.Value) {
	limits, _ := v.Interface().(Limits)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		value := v.Field(i)
		switch {
		case opts == "inline" && value.Kind() == reflect.Map:
			d.entries(n, value)
			continue
		case opts == "inline":
			d.fields(n, value)
			continue
		case name == "" || name == "-":
			continue
		case limits.partial:
			// A 0 that is written takes away what would hold otherwise, and a default that is not must not do so.
			if !limits.names(i) {
				continue
			}
		case strings.Contains(opts, "omitempty") && empty(value):
			continue
		}
		child := d.node(value)
		if child == nil {
			continue
		}
		// What an identity provider wants beyond the standard may be a secret; nothing says which.
		if d.mask && v.Type() == reflect.TypeFor[promconfig.OAuth2]() && (name == "endpoint_params" || name == "claims") {
			hide(child)
		}
		n.Content = append(n.Content, scalar("!!str", name), child)
	}
}

// empty says whether an optional key has nothing to say.
func empty(v reflect.Value) bool {
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice {
		return v.Len() == 0
	}
	return v.IsZero()
}

func (d dumper) entries(n *yaml.Node, m reflect.Value) {
	byName := map[string]reflect.Value{}
	for it := m.MapRange(); it.Next(); {
		byName[it.Key().String()] = it.Value()
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		child := d.node(byName[name])
		if child == nil {
			child = scalar("!!null", "null")
		}
		n.Content = append(n.Content, scalar("!!str", name), child)
	}
}

func (d dumper) header(h promconfig.Header) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	add := func(key string, values []string) {
		if len(values) > 0 {
			n.Content = append(n.Content, scalar("!!str", key), d.node(reflect.ValueOf(values)))
		}
	}
	var values, secrets []string
	for _, s := range h.Values {
		values = append(values, d.secret(s))
	}
	for _, s := range h.Secrets {
		secrets = append(secrets, d.secret(string(s)))
	}
	add("values", values)
	add("secrets", secrets)
	add("files", h.Files)
	return n
}

// url is a proxy's URL. Its parts are masked as Prometheus does: < and > would not be a URL any more.
func (d dumper) url(u *url.URL) string {
	if u == nil {
		return ""
	}
	c := *u
	if !d.mask {
		return c.String()
	}
	if c.User != nil {
		if _, has := c.User.Password(); has {
			c.User = url.UserPassword(c.User.Username(), "xxxxx")
		} else {
			c.User = url.User("xxxxx")
		}
	}
	if c.RawQuery != "" {
		c.RawQuery = "xxxxx"
	}
	return c.String()
}

// hide masks every value below n.
func hide(n *yaml.Node) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		if child.Kind == yaml.ScalarNode {
			*child = *scalar("!!str", masked)
		}
		hide(child)
	}
}

// text is a string as the file has it: what would be a variable is escaped.
func text(s string) *yaml.Node {
	return scalar("!!str", strings.ReplaceAll(s, envOpen, "$"+envOpen))
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
