package loki

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// checkLabels compares parse with what Loki does: ParseMetric, then WithoutEmpty.
func checkLabels(t *testing.T, text string) {
	t.Helper()
	want, wantErr := parser.NewParser(parser.Options{}).ParseMetric(text)
	var s labelSet
	gotErr := s.parse([]byte(text))
	if wantErr != nil {
		if gotErr == nil {
			t.Fatalf("%q: taken as %s, reference: %v", text, s.append(nil, nil), wantErr)
		}
		return
	}
	if gotErr != nil {
		if what := gotErr.(*syntaxError).what; what == "a label name that occurs twice" || what == "a label without a name" {
			checkDeliberate(t, text, want)
			return
		}
		t.Fatalf("%q: %v, reference: %s", text, gotErr, want)
	}
	want = want.WithoutEmpty()
	got := promlabels.NewScratchBuilder(len(s.pairs))
	for _, p := range s.pairs {
		got.Add(string(p.name), string(p.value))
	}
	if g := got.Labels(); !promlabels.Equal(g, want) {
		t.Fatalf("%q: got %s, want %s", text, g, want)
	}
	canonical := s.append(nil, nil)
	if n := s.textLen(); n != len(canonical) {
		t.Fatalf("%q: %d bytes promised for %q", text, n, canonical)
	}
	if over := len(canonical) - len(text); over > growth([]byte(text)) {
		t.Fatalf("%q grew by %d to %q, promised %d", text, over, canonical, growth([]byte(text)))
	}
	if w := want.String(); string(canonical) != w && !strings.ContainsRune(w, utf8.RuneError) {
		t.Fatalf("%q: printed %q, want %q", text, canonical, w)
	}
	again, err := parser.NewParser(parser.Options{}).ParseMetric(string(canonical))
	if err != nil || !promlabels.Equal(again, want) {
		t.Fatalf("%q: printed %q reads as %s, %v", text, canonical, again, err)
	}
}

// checkDeliberate: only what Loki's validator refuses may be refused here though it parses.
func checkDeliberate(t *testing.T, text string, ls promlabels.Labels) {
	t.Helper()
	seen := map[string]int{}
	// A metric name before the braces replaces one inside of them, in the reference.
	if head := strings.TrimLeft(text, " \t\r\n"); head != "" && head[0] != '{' {
		seen[metricName]++
		if head[0] == '#' || strings.Contains(text, metricName) || strings.ContainsAny(text, "\"'`") {
			return
		}
	}
	twice := false
	ls.Range(func(l promlabels.Label) {
		seen[l.Name]++
		twice = twice || seen[l.Name] > 1 || l.Name == ""
	})
	if !twice {
		t.Fatalf("%q: refused, reference: %s", text, ls)
	}
}

// labelSeeds is what senders write, what Loki's tests hold, and what is wrong in one place.
var labelSeeds = []string{
	``, ` `, `{}`, `{ }`, `{,}`, `{a="b"}`, `{a="b",}`, `{a="b",,}`, `{a="b", c="d"}`, "{\n\ta = \"b\"\r\n}", `{a='b"', c="d'"}`,
	"{a=`\\n\n\r`}", `{ "foo"="bar2" }`, `{"foo"}`, `{"foo", a="b"}`, `{"a b"="c", 'd'="e"}`, `foo`, `foo{}`, `foo {a="b"}`, `foo:bar{a="b"}`, `:{a="b"}`,
	`sum{a="b"}`, `ON{a="b"}`, `nan`, `Inf{}`, `bool`, `on1`, `1foo`, `foo{__name__="bar"}`, `foo{__name__=""}`, `{a=""}`, `{a="",a="1"}`, `{a="1",a="2"}`, `{""="x"}`, `{""}`,
	`{a="b"} # comment`, "{a=\"b\" # }\n}", "# c\nfoo", `{a="b" # }`, `{a="\""}`, `{a="\'"}`, `{a='\''}`, `{a='\"'}`, `{a="\x41\101\u0041\U00000041"}`, `{a="\xff\377"}`, `{a="\400"}`,
	`{a="\ud800"}`, `{a="\U00110000"}`, `{a="\uD83D"}`, `{a="\q"}`, `{a="\x4"}`, `{a="\`, `{a="`, `{a=`, `{a`, `{`, `}`, `{a="b"`, `{a="b"}}`, `{a="b"}{c="d"}`, `{a!="b"}`, `{a=~"b"}`, `{a=="b"}`, `{a:b="c"}`,
	"{a=\"\xff\"}", "{a=\"�\"}", `{a="\ufffd"}`, "{a=`�`}", "{a=\"\u00a0\u2028\U000e0001é日\x7f\x00\"}", "{a=\"x\ny\"}", `{é="x"}`, `{a="b" c="d"}`, `{a b="c"}`, `{a="b"} x`, "{a=\"b\"}\x00",
	`{app="checkout", cluster="eu-1", container="server", filename="/var/log/pods/shop_checkout-7d9f_1/server/0.log", job="shop/checkout", namespace="shop", pod="checkout-7d9f5c6b8-x2x7k", stream="stderr"}`,
	"{a=\"\x7f\",b=`\"\"\"\"\\\\\\\\`}", `{a="1",b="2",c="3",d="4",e="5",f="6"}`,
}

func TestLabels(t *testing.T) {
	for _, text := range labelSeeds {
		checkLabels(t, text)
	}
	for _, k := range append(parser.Keywords(), "inf", "nan", "NaN", "x") {
		checkLabels(t, k+`{a="b"}`)
		checkLabels(t, strings.ToUpper(k))
	}
}

func TestLabelsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{"{", "}", "{", "}", ",", "=", `"a"`, "'b'", "`c`", "a", "b1", "foo:bar", " ", "\n", "#x\n", `"\n"`, `"\xfe"`, `"é"`, `"\u00a0"`, `""`, "sum", "on", `a="b"`, `,c="d"`, `,e='"'`, `"f g"="h"`, "\xff", `"�"`}
	for range 60_000 {
		var b strings.Builder
		if r.IntN(3) > 0 {
			b.WriteString("{")
		}
		for range r.IntN(6) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		if r.IntN(3) > 0 {
			b.WriteString("}")
		}
		checkLabels(t, b.String())
	}
}

func FuzzLabels(f *testing.F) {
	for _, text := range labelSeeds {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkLabels(t, text) })
}

func TestStampLabels(t *testing.T) {
	stamps := labels.Sorted(map[string]string{"env": "prod", "k8s.cluster": "a\"b", "job": "x"})
	f := func(text, want string) {
		t.Helper()
		var s labelSet
		if err := s.parse([]byte(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := string(s.append(nil, stamps)); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
	f(``, `{env="prod", job="x", "k8s.cluster"="a\"b"}`)
	f(`{env="dev"}`, `{env="prod", job="x", "k8s.cluster"="a\"b"}`)
	f(`{zone='z',app="a", "k8s.cluster"="c"}`, `{app="a", env="prod", job="x", "k8s.cluster"="a\"b", zone="z"}`)
	f(`foo{k="v"}`, `{__name__="foo", env="prod", job="x", k="v", "k8s.cluster"="a\"b"}`)
}
