package relabel_test

import (
	"math/rand/v2"
	"strings"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/relabel"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// generator makes rules and sets of bytes, so that a fuzzer has something to work on. Out of bytes it makes the simplest.
type generator struct{ bytes []byte }

func (g *generator) below(n int) int {
	if len(g.bytes) == 0 {
		return 0
	}
	b := int(g.bytes[0])
	g.bytes = g.bytes[1:]
	return b % n
}

func one[T any](g *generator, of ...T) T { return of[g.below(len(of))] }

var (
	genNames = []string{
		"a", "b", "ab", "abc", "a_b", "ba", "job", "__name__", "__tmp", "__tmp_a", "__tm", "resource.a", "resource.b",
		"scope.name", "é", "aé", "le", "cluster", "A", "a\xff", "\xff", "a\ufffd", "_", "z",
	}
	genValues = []string{
		"a", "b", "ab", "aab", "aba", "abc", "a;b", "x", "é", "aéb", "É", "ÀB", "Ab", "AB", "1", "10.0.0.1:9100", "host:80",
		"\xff", "a\xffb", "\xc3", "\ufffd", "a\n", ";", "le", "a$1", "ſ", "K", "İ",
	}
	genTemplates = []string{
		"$1", "${1}", "$0", "x$1y", "a", "", "${name}", "$name", "$1x", "$$", "$", "${", "${1", "$2", "${2}${1}", "$01", "$10",
		"${1}_${1}", "a$$1", "resource.$1", "__tmp_$1", "é$1", "b", "ab", "$1$2", "$é", "${00}", "$100000000", "$4294967297",
	}
)

// regex is a regular expression, perhaps one that does not compile.
func (g *generator) regex(depth int) string {
	if depth <= 0 {
		return one(g, "a", "b", "ab", ".*", ".+", "", "é", "[ab]", `\d+`, "[^:]+", "(.*)", "(.+)", ".", "x?", "(?i:ab)", "[^a]",
			"__tmp.*", "resource.*", ";", "\\x{fffd}", "a{2}", "_", "$", "^", "(a)", "(?P<name>a)", "(?P<name>.*)", "[a-c]", ".*?",
			"(?-s:.*)", "(?-s:.)", "(?m:^a$)", "le", "(?P<é>a)", "\\C", "(?:.*)*", "(.*.*)", "(.+.+)", ".?")
	}
	l := func() string { return g.regex(depth - 1 - g.below(2)) }
	switch g.below(9) {
	case 0:
		return l() + "|" + l()
	case 1:
		return "(" + l() + ")"
	case 2:
		return "(" + l() + "|" + l() + ")" + l()
	case 3:
		return "(?:" + l() + ")?" + l()
	case 4:
		return l() + ")|(?:" + l() // what the library's anchors do not hold together
	case 5:
		return "^" + l() + "$"
	}
	return l() + l()
}

func (g *generator) rule() *prom.Config {
	c := prom.DefaultRelabelConfig
	c.Action = one(g, prom.Replace, prom.Replace, prom.Replace, prom.LabelDrop, prom.LabelKeep, prom.LabelMap, prom.LabelMap,
		prom.Drop, prom.Keep, prom.HashMod, prom.Lowercase, prom.Uppercase, prom.KeepEqual, prom.DropEqual)
	names := c.Action == prom.LabelDrop || c.Action == prom.LabelKeep || c.Action == prom.LabelMap
	equal := c.Action == prom.KeepEqual || c.Action == prom.DropEqual
	if !equal && g.below(4) != 0 {
		re, err := prom.NewRegexp(g.regex(g.below(4)))
		if err != nil {
			return nil
		}
		c.Regex = re
	}
	if !names {
		for range g.below(4) {
			c.SourceLabels = append(c.SourceLabels, model.LabelName(one(g, genNames...)))
		}
		c.TargetLabel = one(g, genNames...)
		if c.Action == prom.Replace && g.below(3) == 0 {
			c.TargetLabel = one(g, genTemplates...)
		}
	}
	if !names && !equal {
		c.Separator = one(g, ";", "", "::")
	}
	if c.Action == prom.Replace || c.Action == prom.LabelMap {
		c.Replacement = one(g, genTemplates...)
	}
	if c.Action == prom.HashMod {
		c.Modulus = uint64(g.below(20))
	}
	if err := c.Validate(one(g, model.UTF8Validation, model.UTF8Validation, model.LegacyValidation)); err != nil {
		return nil
	}
	return &c
}

func (g *generator) rules() []*prom.Config {
	var rules []*prom.Config
	for range 1 + g.below(6) {
		if c := g.rule(); c != nil {
			rules = append(rules, c)
		}
	}
	return rules
}

// set makes a set of labels. None is nameless: the library does not find any label in a set with such a one.
func (g *generator) set() *labels.Set {
	var set labels.Set
	for range g.below(8) {
		set.Add(labels.Label{Name: one(g, genNames...), Value: one(g, genValues...)}, labels.Key{})
	}
	if g.below(32) == 1 {
		for i := range 70 {
			set.Add(labels.Label{Name: "n" + strings.Repeat("b", i), Value: one(g, genValues...)}, labels.Key{})
		}
	}
	set.Sort()
	return &set
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(120))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
