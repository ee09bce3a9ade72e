package relabel_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	prom "github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

const explained = `
- {regex: pod|le, action: labeldrop}
- {source_labels: [instance], regex: '([^:]+):\d+', target_label: instance}
- {source_labels: [instance], target_label: __tmp_host}
- {source_labels: [__name__], regex: 'go_.*', action: drop}
- {target_label: team, replacement: it's mine}
- {target_label: team, replacement: it's mine}`

func TestExplainText(t *testing.T) {
	f := func(rules, set string, o relabel.Options, want string) {
		t.Helper()
		got := relabel.Compile(rulesOf(t, rules), o).Explain(setOf(set)).String()
		if want = strings.TrimPrefix(want, "\n"); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	o := relabel.Options{Protected: []string{"le"}, Move: []string{"job"}}
	f(explained, "__name__=up instance=db1:80 job=db le=1 pod=db-7", o, `
before
    __name__    "up"
    instance    "db1:80"
    job         "db"
    le          "1"
    pod         "db-7"

rule 0  {regex: 'pod|le', action: labeldrop}
  - le          "1"
  - pod         "db-7"

rule 1  {source_labels: [instance], regex: '([^:]+):\d+', target_label: instance, action: replace}
  ~ instance    "db1:80" -> "db1"

rule 2  {source_labels: [instance], target_label: __tmp_host, action: replace}
  + __tmp_host  "db1"

rule 3  {source_labels: [__name__], regex: 'go_.*', action: drop}
  did not match

rule 4  {target_label: team, replacement: 'it''s mine', action: replace}
  + team        "it's mine"

rule 5  {target_label: team, replacement: 'it''s mine', action: replace}
  matched, changed nothing

removed after the rules: temporary
  - __tmp_host  "db1"

restored after the rules: protected
  + le          "1"

moved to structured metadata
  > job         "db"

after
    __name__    "up"
    instance    "db1"
    le          "1"
    team        "it's mine"
`)
	f(explained, "__name__=go_x", relabel.Options{}, `
before
    __name__  "go_x"

rule 0  {regex: 'pod|le', action: labeldrop}
  did not match

rule 1  {source_labels: [instance], regex: '([^:]+):\d+', target_label: instance, action: replace}
  did not match

rule 2  {source_labels: [instance], target_label: __tmp_host, action: replace}
  matched, changed nothing

rule 3  {source_labels: [__name__], regex: 'go_.*', action: drop}
  matched: drops the whole set

rule 4  {target_label: team, replacement: 'it''s mine', action: replace}
  not reached

rule 5  {target_label: team, replacement: 'it''s mine', action: replace}
  not reached

dropped by rule 3
`)
	f(`[{source_labels: [a], action: keep, regex: 'x'}]`, "a=1", relabel.Options{}, `
before
    a  "1"

rule 0  {source_labels: [a], regex: x, action: keep}
  did not match: drops the whole set

dropped by rule 0
`)
	f(`[{action: labeldrop, regex: "\\n|a|x\ty"}]`, "a=1", relabel.Options{}, `
before
    a  "1"

rule 0  {regex: "\\n|a|x\ty", action: labeldrop}
  - a  "1"

no label is left
`)
	f(`[]`, "", relabel.Options{}, "no label is left\n")
}

func TestExplainHostile(t *testing.T) {
	in := setOf("a=\x1b[31m\xff b\x07=1 =x")
	text := relabel.Compile(rulesOf(t, `[{target_label: c, source_labels: [a]}]`), relabel.Options{}).Explain(in).String()
	for _, r := range text {
		if r < ' ' && r != '\n' || r == '\ufffd' {
			t.Fatalf("%q is not printable", text)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	o := relabel.Options{Protected: []string{"le"}, Move: []string{"job"}}
	e := relabel.Compile(rulesOf(t, `[{regex: le, action: labeldrop}, {source_labels: [a], regex: (x+), target_label: __tmp}, {source_labels: [a], regex: yy, action: drop}]`), o)
	f := func(set, want string) {
		t.Helper()
		got, err := json.Marshal(e.Explain(setOf(set)))
		if err != nil {
			t.Fatal(err)
		}
		if want = strings.NewReplacer("\n", "", "\t", "").Replace(want); string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f("a=x job=j le=1", `{"before":[{"name":"a","value":"x"},{"name":"job","value":"j"},{"name":"le","value":"1"}],"rules":[
		{"index":0,"rule":"{regex: le, action: labeldrop}","reached":true,"matched":true,"dropped":false,"changes":[{"name":"le","before":"1","after":""}]},
		{"index":1,"rule":"{source_labels: [a], regex: '(x+)', target_label: __tmp, action: replace}","reached":true,"matched":true,"dropped":false,"changes":[{"name":"__tmp","before":"","after":"x"}]},
		{"index":2,"rule":"{source_labels: [a], regex: yy, action: drop}","reached":true,"matched":false,"dropped":false}],
		"temporary":[{"name":"__tmp","value":"x"}],"restored":[{"name":"le","value":"1"}],"moved":[{"name":"job","value":"j"}],
		"dropped":false,"no_labels":false,"labels":[{"name":"a","value":"x"},{"name":"le","value":"1"}]}`)
	f("a=yy", `{"before":[{"name":"a","value":"yy"}],"rules":[
		{"index":0,"rule":"{regex: le, action: labeldrop}","reached":true,"matched":false,"dropped":false},
		{"index":1,"rule":"{source_labels: [a], regex: '(x+)', target_label: __tmp, action: replace}","reached":true,"matched":false,"dropped":false},
		{"index":2,"rule":"{source_labels: [a], regex: yy, action: drop}","reached":true,"matched":true,"dropped":true}],
		"dropped":true,"no_labels":false,"labels":[]}`)
	f("", `{"before":[],"rules":[
		{"index":0,"rule":"{regex: le, action: labeldrop}","reached":true,"matched":false,"dropped":false},
		{"index":1,"rule":"{source_labels: [a], regex: '(x+)', target_label: __tmp, action: replace}","reached":true,"matched":false,"dropped":false},
		{"index":2,"rule":"{source_labels: [a], regex: yy, action: drop}","reached":true,"matched":false,"dropped":false}],
		"dropped":false,"no_labels":false,"labels":[]}`)
}

// TestExplainOutlivesThePush: an explanation is read after the push's buffer has another push in it.
func TestExplainOutlivesThePush(t *testing.T) {
	value := []byte("one")
	set := setOf("b=1")
	set.All[0].Value = unsafeString(value)
	e := relabel.Compile(rulesOf(t, `[{source_labels: [b], target_label: c}, {regex: b, action: labeldrop}]`), relabel.Options{}).Explain(set)
	before := e.String()
	copy(value, "two")
	if got := e.String(); got != before {
		t.Errorf("it was\n%s\nand is\n%s", before, got)
	}
}

// TestRuleText: the text of a rule is YAML, in one line, and says all of it.
func TestRuleText(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	extra := rulesOf(t, `[{regex: "a\n'b'\\d", target_label: 'null', replacement: ' x', separator: "\0"}, {source_labels: [off, '1', 'a, b', 'é'], target_label: '~'},
		{target_label: '- a', replacement: '{b: c}'}, {target_label: 'a: b', replacement: '#'}, {target_label: "\u2028", replacement: "\ufffd"}]`)
	for i := range 800 {
		g := &generator{randomBytes(r)}
		rules := g.rules()
		if i == 0 {
			rules = extra
		}
		for j, step := range relabel.Compile(rules, relabel.Options{}).Explain(setOf("")).Rules {
			want := *rules[j]
			var got prom.Config
			err := yaml.Unmarshal([]byte(step.Rule), &got)
			if err != nil || strings.ContainsAny(step.Rule, "\n\u2028") {
				t.Fatalf("%s: %v", step.Rule, err)
			}
			if strings.Contains(step.Rule, `\x`) && strings.Contains(want.TargetLabel+want.Replacement+want.Separator+want.Regex.String(), "\xff") {
				continue // YAML cannot say this, so no file can either
			}
			if got.Regex.String() != want.Regex.String() {
				t.Fatalf("%s has the regex %q, not %q", step.Rule, got.Regex.String(), want.Regex.String())
			}
			got.Regex, got.NameValidationScheme = want.Regex, want.NameValidationScheme
			for k := range want.SourceLabels {
				if strings.Contains(string(want.SourceLabels[k]), "\xff") {
					got.SourceLabels[k] = want.SourceLabels[k]
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got %+v, want %+v", step.Rule, got, want)
			}
		}
	}
}
