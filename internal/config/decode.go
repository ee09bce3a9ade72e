package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

const (
	// maxValues bounds how many values a file may stand for once aliases are followed. It ends alias bombs, cycles too.
	maxValues = 500_000
	// maxFaults bounds how many faults are kept.
	maxFaults = 1000
	// maxMerges bounds << inside <<.
	maxMerges = 16
	// maxFree bounds nesting where the schema does not.
	maxFree = 32
)

// mark is a place in the file.
type mark struct{ line, column int }

// decoder puts YAML nodes into structs and keeps every fault instead of stopping at the first.
type decoder struct {
	file   string
	lookup func(string) (string, bool)

	faults []Fault
	bad    map[string]bool // key paths with a fault, so that validation does not report what follows from it
	odd    map[string]bool // key paths of sections with a key that is not known: what they lack may be there, misspelled
	where  map[string]mark // every key path of the file
	env    map[string]bool // key paths whose value came from ${env:}: never quoted
	left   int             // values until maxValues
	spent  bool
}

func newDecoder(file string, lookup func(string) (string, bool)) *decoder {
	return &decoder{
		file: file, lookup: lookup, left: maxValues,
		bad: map[string]bool{}, odd: map[string]bool{}, where: map[string]mark{}, env: map[string]bool{},
	}
}

// fault notes that n, the value of path, cannot be used.
func (d *decoder) fault(n *yaml.Node, path, format string, args ...any) {
	d.bad[path] = true
	d.note(n, path, format, args...)
}

// note is fault for what leaves the rest of path usable.
func (d *decoder) note(n *yaml.Node, path, format string, args ...any) {
	d.add(Fault{File: d.file, Line: n.Line, Column: n.Column, Key: path, Text: fmt.Sprintf(format, args...)})
}

// add keeps f, unless there are more faults than anyone reads.
func (d *decoder) add(f Fault) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, f)
	} else if !d.spent {
		d.spent = true
		d.faults = append(d.faults, Fault{File: d.file, Text: fmt.Sprintf("over %d faults, of which the first follow", maxFaults)})
	}
}

// enter returns the node that n stands for, or nil when the file is too large to go on.
func (d *decoder) enter(n *yaml.Node, path string) *yaml.Node {
	if d.spent {
		return nil
	}
	if d.left--; d.left < 0 {
		d.spent = true
		d.fault(n, path, "the file stands for over %d values; use fewer aliases", maxValues)
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// value puts n into out. A value that is present but empty leaves out at its default.
func (d *decoder) value(n *yaml.Node, out reflect.Value, path string) {
	// Before anything can be refused: validation goes on and must find no nil.
	if out.Kind() == reflect.Pointer && out.Type().Elem().Kind() == reflect.Struct {
		out.Set(reflect.New(out.Type().Elem()))
		if def, ok := out.Interface().(defaulter); ok {
			def.setDefaults()
		}
		out = out.Elem()
	}
	if n = d.enter(n, path); n == nil {
		return
	}
	if n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}, n.ShortTag()) {
		d.fault(n, path, "the only YAML tags here are YAML's own; leave the tag out")
		return
	}
	if isNull(n) {
		return
	}
	if d.special(n, out, path) {
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.structure(n, out, path)
	case reflect.Map:
		d.mapping(n, out, path)
	case reflect.Slice:
		d.list(n, out, path)
	case reflect.Interface:
		if v := d.free(n, path, 0); v != nil {
			out.Set(reflect.ValueOf(v))
		}
	default:
		d.scalar(n, out, path)
	}
}

// follow returns what n stands for, if it is an alias.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// field is a key that a struct knows.
type field struct {
	value reflect.Value
	tag   reflect.StructTag
	ref   bool // names an entry of a secret manager, which the gateway has not
}

// fieldsOf returns the keys of s, those of its inlined structs too, and the map that takes all other keys, if it has one.
func fieldsOf(s reflect.Value, fields map[string]field) (rest reflect.Value) {
	for i := range s.NumField() {
		f := s.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case opts == "inline" && f.Type.Kind() == reflect.Struct:
			fieldsOf(s.Field(i), fields)
		case opts == "inline":
			rest = s.Field(i)
		case name != "" && name != "-":
			fields[name] = field{value: s.Field(i), tag: f.Tag, ref: strings.HasSuffix(name, "_ref")}
		}
	}
	return rest
}

func (d *decoder) structure(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "wants a section of keys, not %s", kindOf(n))
		return
	}
	if c, ok := out.Addr().Interface().(*relabel.Config); ok {
		*c = relabel.DefaultRelabelConfig
	}
	fields := map[string]field{}
	rest := fieldsOf(out, fields)
	if rest.IsValid() {
		d.mapping(n, rest, path)
		return
	}
	for _, p := range d.pairs(n, path, 0) {
		f, ok := fields[p.name]
		if !ok {
			d.odd[path] = true
			d.fault(p.key, join(path, p.name), "unknown key%s", suggest(p.name, fields))
			continue
		}
		if f.ref {
			d.odd[path] = true
			d.fault(p.key, join(path, p.name), "there is no secret manager to refer to; name a file with %s_file", strings.TrimSuffix(p.name, "_ref"))
			continue
		}
		d.field(p, f, join(path, p.name))
		if l, ok := out.Addr().Interface().(*Limits); ok && !isNull(follow(p.value)) {
			l.name(p.name)
		}
	}
	if c, ok := out.Addr().Interface().(*relabel.Config); ok && !d.under(d.bad, path) {
		d.rule(n, c, path)
	}
}

// rule checks what a relabelling rule's keys say together.
func (d *decoder) rule(n *yaml.Node, c *relabel.Config, path string) {
	err := c.Validate(model.UTF8Validation)
	if err != nil && d.under(d.env, path) {
		err = errors.New("not a valid rule")
	}
	if err != nil {
		d.fault(n, path, "%v", err)
	}
}

// under says whether set has path or a key path below it.
func (d *decoder) under(set map[string]bool, path string) bool {
	for p := range set {
		if below, ok := strings.CutPrefix(p, path); ok && (below == "" || below[0] == '.' || below[0] == '[') {
			return true
		}
	}
	return false
}

// field decodes one key of a struct and obeys its tags.
func (d *decoder) field(p pair, f field, path string) {
	faults := len(d.faults)
	d.value(p.value, f.value, path)
	if len(d.faults) > faults {
		return
	}
	at := p.value
	if words := f.tag.Get("oneof"); words != "" && !slices.Contains(strings.Split(words, "|"), f.value.String()) && !isNull(at) {
		d.fault(at, path, "wants %s%s", strings.ReplaceAll(words, "|", " or "), d.not(path, at))
	} else if f.tag.Get("must") == "positive" && f.value.IsZero() && !isNull(at) {
		d.fault(at, path, "must be over 0")
	}
}

func (d *decoder) mapping(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "wants a section of keys, not %s", kindOf(n))
		return
	}
	for _, p := range d.pairs(n, path, 0) {
		if out.IsNil() {
			out.Set(reflect.MakeMap(out.Type()))
		}
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(p.value, v, join(path, p.name))
		out.SetMapIndex(reflect.ValueOf(p.name), v)
	}
}

func (d *decoder) list(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "wants a list, such as [a, b], not %s", kindOf(n))
		return
	}
	list := reflect.MakeSlice(out.Type(), 0, min(len(n.Content), 64))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.where[at] = mark{item.Line, item.Column}
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(item, v, at)
		if d.spent {
			return
		}
		list = reflect.Append(list, v)
	}
	out.Set(list)
}

// free decodes what has no schema.
func (d *decoder) free(n *yaml.Node, path string, depth int) any {
	if n = d.enter(n, path); n == nil {
		return nil
	}
	if depth > maxFree {
		d.fault(n, path, "nested over %d deep", maxFree)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, p := range d.pairs(n, path, 0) {
			m[p.name] = d.free(p.value, join(path, p.name), depth+1)
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for i, item := range n.Content {
			if d.spent {
				return nil
			}
			list = append(list, d.free(item, path+"["+strconv.Itoa(i)+"]", depth+1))
		}
		return list
	}
	s, ok := d.text(n, path, "a value")
	if !ok || d.env[path] {
		return s
	}
	var v any
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool", "!!null":
		if err := n.Decode(&v); err != nil {
			d.fault(n, path, "not a value that fits its YAML tag")
		}
		return v
	}
	return s
}

// pair is one key of a mapping.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs returns the keys of mapping n in the order of the file, then those that << adds.
func (d *decoder) pairs(n *yaml.Node, path string, depth int) []pair {
	if depth > maxMerges {
		d.note(n, path, "<< nested over %d deep", maxMerges)
		return nil
	}
	own, seen := []pair{}, map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !d.spent; i += 2 {
		key, value := d.enter(n.Content[i], path), n.Content[i+1]
		switch {
		case key == nil:
			return nil
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.odd[path] = true
			d.note(key, path, "a key must be a word, not %s", kindOf(key))
			continue
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
			continue
		}
		if line, doubled := seen[key.Value]; doubled {
			d.note(key, join(path, key.Value), "doubled key; it stands on line %d already", line)
			continue
		}
		seen[key.Value] = key.Line
		own = append(own, pair{name: key.Value, key: key, value: value})
	}
	for _, m := range merged {
		for _, p := range d.merge(m, path, depth) {
			if _, ok := seen[p.name]; !ok {
				seen[p.name] = p.key.Line
				own = append(own, p)
			}
		}
	}
	for _, p := range own {
		d.where[join(path, p.name)] = mark{p.key.Line, p.key.Column}
	}
	return own
}

// merge returns what << stands for: the keys of a mapping, or of a list of them where the first that has a key wins.
func (d *decoder) merge(n *yaml.Node, path string, depth int) []pair {
	if n = d.enter(n, path); n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(n, path, depth+1)
	case yaml.SequenceNode:
		var all []pair
		for _, item := range n.Content {
			if item = d.enter(item, path); item == nil {
				return nil
			}
			if item.Kind != yaml.MappingNode {
				d.note(item, path, "<< wants sections of keys, not %s", kindOf(item))
				continue
			}
			all = append(all, d.pairs(item, path, depth+1)...)
		}
		return all
	}
	d.note(n, path, "<< wants a section of keys, not %s", kindOf(n))
	return nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if isNull(n) {
		return "nothing"
	}
	return "a single value"
}

// join appends key to a key path. A key is shown as it is only where it can break neither a line nor a terminal.
func join(path, key string) string {
	if len(key) > 128 {
		key = key[:128] + "..."
	}
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		key = strconv.QuoteToASCII(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
