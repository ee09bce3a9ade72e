package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// protected are labels without which series of metrics are corrupted: two become one, or a histogram none.
var protected = []string{"__name__", "le", "quantile", "cluster", "__replica__"}

// rules checks all relabelling rules of an environment.
func (v *validator) rules(path string, e *Environment) {
	u := &e.Upstreams
	v.ruleList(path+".metrics.relabel_configs", e.Metrics.RelabelConfigs, u.OTLP != nil, !e.Metrics.AllowProtected)
	v.ruleList(path+".logs.relabel_configs", e.Logs.RelabelConfigs, u.OTLP != nil, false)
	v.ruleList(path+".traces.relabel_configs", e.Traces.RelabelConfigs, true, false)
	v.ruleList(path+".metrics.resource_relabel_configs", e.Metrics.ResourceRelabelConfigs, false, false)
	v.ruleList(path+".logs.resource_relabel_configs", e.Logs.ResourceRelabelConfigs, false, false)
	v.ruleList(path+".traces.resource_relabel_configs", e.Traces.ResourceRelabelConfigs, false, false)
	v.metadata(path+".logs.structured_metadata", e.Logs.StructuredMetadata)
	v.sticky(path+".metrics.relabel_configs", e.Metrics.RelabelConfigs)
	v.sticky(path+".metrics.resource_relabel_configs", e.Metrics.ResourceRelabelConfigs)
	v.idle(path, e)
}

// sticky warns of rules that can make two live series one where no single replica sees both.
func (v *validator) sticky(path string, rules []*relabel.Config) {
	if slices.ContainsFunc(rules, removes) {
		v.warn(path, "rules remove labels, and whether two live series become one is seen by each replica for itself: with several replicas, route by sender (sticky)")
	}
}

// idle warns of what is configured and has nothing to work on.
func (v *validator) idle(path string, e *Environment) {
	u := &e.Upstreams
	anyMetrics, anyLogs, anyTraces := u.Prometheus != nil || u.OTLP != nil, u.Loki != nil || u.OTLP != nil, u.Tempo != nil || u.OTLP != nil
	for _, k := range []struct {
		key  string
		n    int
		used bool
		exit string
	}{
		{"metrics.relabel_configs", len(e.Metrics.RelabelConfigs), anyMetrics, "prometheus and no otlp"},
		{"metrics.resource_relabel_configs", len(e.Metrics.ResourceRelabelConfigs), u.OTLP != nil, "otlp"},
		{"logs.relabel_configs", len(e.Logs.RelabelConfigs), anyLogs, "loki and no otlp"},
		{"logs.resource_relabel_configs", len(e.Logs.ResourceRelabelConfigs), u.OTLP != nil, "otlp"},
		{"logs.structured_metadata", len(e.Logs.StructuredMetadata), anyLogs, "loki and no otlp"},
		{"traces.relabel_configs", len(e.Traces.RelabelConfigs), anyTraces, "tempo and no otlp"},
		{"traces.resource_relabel_configs", len(e.Traces.ResourceRelabelConfigs), anyTraces, "tempo and no otlp"},
	} {
		switch {
		case k.n == 0:
		case !e.Reduction:
			v.warn(path+"."+k.key, "has no effect while this environment has reduction: false")
		case !k.used:
			v.warn(path+"."+k.key, "has no effect: this environment has no %s upstream", k.exit)
		}
	}
}

// ruleList checks the rules of one key. otlp: they see resource.* and scope.*, which they cannot change. protect: they
// may not remove what is protected.
func (v *validator) ruleList(path string, rules []*relabel.Config, otlp, protect bool) {
	for i, c := range rules {
		at := path + "[" + strconv.Itoa(i) + "]"
		if c.Action == "" { // null: there was nothing to decode
			v.refuse(at, "an empty rule does nothing; take it out")
			continue
		}
		if v.under(v.bad, at) {
			continue
		}
		if why := useless(c); why != "" {
			v.refuse(at, "%s, so that the rule never does anything; take it out or correct it", why)
		}
		if dropsAll(c) {
			v.warn(at, "it drops everything")
		}
		if protect {
			v.protects(at, c)
		}
		if name := readOnly(c); otlp && name != "" {
			if v.under(v.env, at) {
				name = "what the environment variable holds"
			}
			v.refuse(at, "%s of OTLP can only be read here; to change or drop resource attributes use resource_relabel_configs, where they have no prefix", name)
		}
	}
}

// protects refuses a rule that removes a label without which series are corrupted.
func (v *validator) protects(at string, c *relabel.Config) {
	var lost []string
	switch {
	case c.Action == relabel.LabelDrop || c.Action == relabel.LabelKeep:
		for _, name := range protected {
			if c.Regex.MatchString(name) == (c.Action == relabel.LabelDrop) {
				lost = append(lost, name)
			}
		}
	case slices.Contains(protected, c.TargetLabel) && empties(c):
		lost = []string{c.TargetLabel}
	}
	if len(lost) > 0 {
		v.refuse(at, "%s would remove %s, and series would be corrupted; name what may go, or set allow_protected: true beside relabel_configs", c.Action, strings.Join(lost, ", "))
	}
}

// reference finds what a replacement takes from the regular expression.
var reference = regexp.MustCompile(`\$(?:\w+|\{\w+\})`)

// empties says whether a rule can write nothing but the empty value, which removes its target.
func empties(c *relabel.Config) bool {
	switch c.Action {
	case relabel.Lowercase, relabel.Uppercase:
		return len(c.SourceLabels) == 0
	case relabel.Replace:
	default:
		return false
	}
	if reference.ReplaceAllString(c.Replacement, "") != "" {
		return false
	}
	for _, r := range reference.FindAllString(c.Replacement, -1) {
		name := strings.Trim(r, "${}")
		if n, err := strconv.Atoi(name); err != nil && c.Regex.SubexpIndex(name) >= 0 || err == nil && n <= c.Regex.NumSubexp() {
			return len(c.SourceLabels) == 0 // there is nothing that a group could hold
		}
	}
	return true
}

// removes says whether a rule takes labels away from series.
func removes(c *relabel.Config) bool {
	return c != nil && (c.Action == relabel.LabelDrop || c.Action == relabel.LabelKeep || empties(c))
}

// anything are regular expressions that match every value.
var anything = []string{"(.*)", ".*"}

// useless says why a rule cannot ever change or drop anything. Empty: it can.
func useless(c *relabel.Config) string {
	all := slices.Contains(anything, c.Regex.String())
	self := len(c.SourceLabels) == 1 && string(c.SourceLabels[0]) == c.TargetLabel
	nothing := len(c.SourceLabels) == 0
	switch c.Action {
	case relabel.Keep:
		if nothing && c.Regex.MatchString("") {
			return "without source_labels it keeps everything"
		}
		if all {
			return "its regex matches every value"
		}
	case relabel.Drop:
		if nothing && !c.Regex.MatchString("") {
			return "without source_labels there is nothing that its regex could match"
		}
	case relabel.Replace:
		if nothing && !c.Regex.MatchString("") {
			return "without source_labels there is nothing that its regex could match"
		}
		if self && c.Regex.String() == "(.*)" && slices.Contains([]string{"$1", "${1}", "$0", "${0}"}, c.Replacement) {
			return "it replaces a label by itself"
		}
	case relabel.KeepEqual:
		if self {
			return "a label is always equal to itself"
		}
	case relabel.LabelDrop:
		if c.Regex.String() == "" {
			return "no label has an empty name"
		}
	case relabel.LabelKeep:
		if all {
			return "its regex matches every label"
		}
	case relabel.LabelMap:
		if c.Regex.String() == "" {
			return "no label has an empty name"
		}
		if all && c.Replacement == "$0" || c.Regex.String() == "(.*)" && slices.Contains([]string{"$1", "${1}", "${0}"}, c.Replacement) {
			return "it maps every label to itself"
		}
	}
	return ""
}

// dropsAll says whether nothing passes a rule.
func dropsAll(c *relabel.Config) bool {
	switch c.Action {
	case relabel.Drop:
		return slices.Contains(anything, c.Regex.String()) || len(c.SourceLabels) == 0 && c.Regex.MatchString("")
	case relabel.Keep:
		return len(c.SourceLabels) == 0 && !c.Regex.MatchString("")
	case relabel.DropEqual:
		return len(c.SourceLabels) == 1 && string(c.SourceLabels[0]) == c.TargetLabel
	}
	return false
}

// envelope is a name of the envelope around OTLP items, as people write it in a regular expression too.
var envelope = regexp.MustCompile(`^(resource|scope)\\?\.[\w./\\-]+$`)

// readOnly returns the name of the OTLP resource or scope that a rule would change. Patterns skip those, so only names count.
func readOnly(c *relabel.Config) string {
	switch c.Action {
	case relabel.Replace, relabel.HashMod, relabel.Lowercase, relabel.Uppercase:
		if envelope.MatchString(c.TargetLabel) {
			return c.TargetLabel
		}
	case relabel.LabelMap:
		if envelope.MatchString(c.Replacement) {
			return c.Replacement
		}
	case relabel.LabelDrop:
		for name := range strings.SplitSeq(c.Regex.String(), "|") {
			if name = strings.Trim(name, "^$()"); envelope.MatchString(name) {
				return name
			}
		}
	}
	return ""
}

// metadata checks labels that become structured metadata.
func (v *validator) metadata(path string, list []string) {
	for i, n := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case n == "" || !utf8.ValidString(n):
			v.refuse(at, "a label name is not empty and valid UTF-8")
		case slices.Contains(list[:i], n):
			v.refuse(at, "%s stands in the list twice; take one out", v.show(at, n))
		case n == model.MetricNameLabel:
			v.refuse(at, "logs have no __name__; take it out")
		}
	}
	if len(list) > 0 {
		v.warn(path, "what moves is billed as bytes of each entry, where stream labels are not; gateway_structured_metadata_added_bytes_total says how many")
	}
}
