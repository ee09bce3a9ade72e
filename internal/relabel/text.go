package relabel

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	prom "github.com/prometheus/prometheus/model/relabel"
)

// ruleText returns c as one line of YAML. What is at its default is left out, so that equal rules have equal texts.
func ruleText(c *prom.Config) string {
	var b strings.Builder
	key := func(name, value string) {
		if b.Len() > 1 {
			b.WriteString(", ")
		}
		b.WriteString(name + ": " + value)
	}
	b.WriteByte('{')
	if len(c.SourceLabels) > 0 {
		list := make([]string, len(c.SourceLabels))
		for i, name := range c.SourceLabels {
			list[i] = quote(string(name))
		}
		key("source_labels", "["+strings.Join(list, ", ")+"]")
	}
	def := prom.DefaultRelabelConfig
	if c.Separator != def.Separator {
		key("separator", quote(c.Separator))
	}
	if re := c.Regex.String(); re != def.Regex.String() {
		key("regex", quote(re))
	}
	if c.Modulus != 0 {
		key("modulus", strconv.FormatUint(c.Modulus, 10))
	}
	if c.TargetLabel != "" {
		key("target_label", quote(c.TargetLabel))
	}
	if c.Replacement != def.Replacement {
		key("replacement", quote(c.Replacement))
	}
	key("action", string(c.Action))
	b.WriteByte('}')
	return b.String()
}

// bareText is a text that is itself in YAML, whatever stands around it: no number, no truth value, no sign with a meaning.
var bareText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

// quote returns s as a YAML scalar in one line.
func quote(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(s) // YAML knows all escapes of Go's
		}
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
	default:
		if bareText.MatchString(s) {
			return s
		}
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
