package relabel_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/common/model"
	prom "github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/relabel"
)

const utf8Names = model.UTF8Validation

// rulesOf parses a YAML list of rules.
func rulesOf(t testing.TB, text string) []*prom.Config {
	t.Helper()
	var rules []*prom.Config
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil {
		t.Fatal(err)
	}
	for _, c := range rules {
		if err := c.Validate(utf8Names); err != nil {
			t.Fatal(err)
		}
	}
	return rules
}

// setOf makes a set of "a=1 b=2".
func setOf(text string) *labels.Set {
	var set labels.Set
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		set.Add(labels.Label{Name: name, Value: value}, labels.Key{})
	}
	set.Sort()
	return &set
}

func textOf(ls []labels.Label) string {
	var fields []string
	for _, l := range ls {
		fields = append(fields, l.Name+"="+l.Value)
	}
	return strings.Join(fields, " ")
}

func TestActions(t *testing.T) {
	// want is what is left, or "dropped by 0".
	f := func(rules, set, want string) {
		t.Helper()
		configs, in := rulesOf(t, rules), setOf(set)
		r := relabel.Compile(configs, relabel.Options{})
		var s relabel.Scratch
		for range 3 {
			res := r.Apply(&s, in)
			got := textOf(res.Change.Append(nil, in.All))
			if res.DroppedBy >= 0 {
				got = fmt.Sprintf("dropped by %d", res.DroppedBy)
			}
			if got != want {
				t.Errorf("%s\nof %s: got %s, want %s", rules, set, got, want)
			}
			checkApply(t, r, &s, configs, relabel.Options{}, in)
		}
	}
	// replace
	f(`[{source_labels: [a], target_label: d, regex: f, replacement: 'x$1'}]`, "a=foo b=bar", "a=foo b=bar")
	f(`[{source_labels: [a], target_label: d, regex: 'f(.*)', replacement: 'x$1'}]`, "a=foo b=bar", "a=foo b=bar d=xoo")
	f(`[{source_labels: [a, b], target_label: a, regex: 'f(.).*;(b.)r', replacement: '$2${1}_$$'}]`, "a=foo b=bar", "a=bao_$ b=bar")
	f(`[{source_labels: [a, none, b], separator: '-', target_label: c}]`, "a=1 b=2", "a=1 b=2 c=1--2")
	f(`[{source_labels: [none], target_label: a}]`, "a=1 b=2", "b=2")
	f(`[{source_labels: [none], regex: '.+', target_label: a}]`, "a=1 b=2", "a=1 b=2")
	f(`[{target_label: env, replacement: prod}]`, "a=1", "a=1 env=prod")
	f(`[{target_label: a, replacement: ''}]`, "a=1", "")
	f(`[{source_labels: [a], regex: '(.+):.*', target_label: '${1}_t', replacement: v}]`, "a=x:y", "a=x:y x_t=v")
	f(`[{source_labels: [a], regex: 'x(.*)', target_label: '$1', replacement: v}]`, "a=x", "a=x") // no name is empty
	f(`[{source_labels: [a], regex: '(?P<host>[^:]+)(:\d+)?', target_label: host, replacement: '${host}'}]`, "a=db1:80", "a=db1:80 host=db1")
	f(`[{source_labels: [a], regex: '(one)|(two)', target_label: b, replacement: '$1-$2'}]`, "a=two", "a=two b=-two")
	f(`[{source_labels: [a], regex: '(.*)_(total|sum)', target_label: b, replacement: '$2.$1'}]`, "a=x_y_sum", "a=x_y_sum b=sum.x_y")
	f(`[{source_labels: [a], regex: 'x(.*)z', target_label: b, replacement: '$1'}]`, "a=xyz", "a=xyz b=y")
	f(`[{source_labels: [a], regex: 'x(.*)xz', target_label: b, replacement: '$1'}]`, "a=xz", "a=xz")
	f(`[{source_labels: [a], regex: 'x(y)z', target_label: b, replacement: '$1'}]`, "a=xyz", "a=xyz b=y")
	// keep and drop
	f(`[{source_labels: [a], regex: 'f.*', action: drop}]`, "a=foo", "dropped by 0")
	f(`[{source_labels: [a], regex: f, action: drop}]`, "a=foo", "a=foo") // anchored
	f(`[{target_label: a, replacement: "x\ny"}, {source_labels: [a], regex: 'x.y', action: drop}]`, "a=foo", "dropped by 1")
	f(`[{source_labels: [none], regex: '', action: drop}]`, "a=foo", "dropped by 0")
	f(`[{regex: x, action: keep}]`, "a=foo", "dropped by 0")
	f(`[{source_labels: [a], regex: 'foo|bar', action: keep}, {source_labels: [b], regex: 'foo|bar', action: keep}]`, "a=bar b=baz", "dropped by 1")
	f(`[{source_labels: [__name__], regex: 'go_.*|.*_bucket|up|a.*b.*c', action: drop}]`, "__name__=a12b3c", "dropped by 0")
	f(`[{source_labels: [__name__], regex: 'go_.*|.*_bucket|up|a.*b.*c', action: drop}]`, "__name__=a12c3b", "__name__=a12c3b")
	// keepequal and dropequal
	f(`[{source_labels: [a], target_label: b, action: keepequal}]`, "a=1 b=1", "a=1 b=1")
	f(`[{source_labels: [a], target_label: b, action: keepequal}]`, "a=1 b=2", "dropped by 0")
	f(`[{source_labels: [a], target_label: b, action: dropequal}]`, "c=1", "dropped by 0") // both are missing
	f(`[{source_labels: [a, b], target_label: c, action: dropequal}]`, "a=1 b=2 c=1;2", "dropped by 0")
	// hashmod
	f(`[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]`, "c=baz", "c=baz d=976")
	f(`[{source_labels: [c, none], target_label: d, action: hashmod, modulus: 1}]`, "c=baz", "c=baz d=0")
	// labelmap
	f(`[{regex: 'b(.*)', replacement: 'bar_$1', action: labelmap}]`, "a=1 b1=2 b2=3", "a=1 b1=2 b2=3 bar_1=2 bar_2=3")
	f(`[{regex: 'meta_(my_.+)', action: labelmap}]`, "meta_x=1 meta_my_y=2", "meta_my_y=2 meta_x=1 my_y=2")
	f(`[{regex: 'a.', replacement: t, action: labelmap}]`, "a1=1 a2=2 a3=3", "a1=1 a2=2 a3=3 t=3")                                 // the last wins
	f(`[{target_label: a1, replacement: new}, {regex: 'a.', replacement: t, action: labelmap}]`, "a1=1 a2=2", "a1=new a2=2 t=new") // written ones come last
	f(`[{regex: 'a(.)', replacement: 'b$1', action: labelmap}, {regex: 'a.', action: labeldrop}]`, "a1=1 a2=2", "b1=1 b2=2")
	// labeldrop and labelkeep
	f(`[{regex: 'pod|uid', action: labeldrop}]`, "a=1 pod=2 uid=3", "a=1")
	f(`[{regex: '', action: labeldrop}]`, "a=1", "a=1")
	f(`[{regex: '.*', action: labeldrop}]`, "a=1", "")
	f(`[{regex: 'a|b.*', action: labelkeep}]`, "a=1 b=2 bc=3 c=4", "a=1 b=2 bc=3")
	f(`[{target_label: new, replacement: x}, {regex: 'a', action: labelkeep}]`, "a=1 b=2", "a=1")
	f(`[{target_label: a, replacement: x}, {regex: 'a', action: labeldrop}]`, "a=1 b=2", "b=2")
	// lowercase and uppercase
	f(`[{source_labels: [a], target_label: a, action: lowercase}]`, "a=FooBAR1", "a=foobar1")
	f(`[{source_labels: [a, b], target_label: c, action: uppercase}]`, "a=é b=x", "a=é b=x c=É;X")
	f(`[{source_labels: [none], target_label: a, action: uppercase}]`, "a=x b=x", "b=x")
	// what rules use among themselves
	f(`[{source_labels: [a], target_label: __tmp_a}, {source_labels: [__tmp_a], target_label: b}]`, "a=1 __tmp=9 __tm=3 __tn=4", "__tm=3 __tn=4 a=1 b=1")
	// the same label again is no change
	f(`[{source_labels: [a], target_label: a}, {target_label: b, replacement: x}, {target_label: b, replacement: '2'}]`, "a=1 b=2", "a=1 b=2")
	// an expression that leaves its anchors
	f(`[{source_labels: [a], regex: 'x)|(?:y', target_label: b, replacement: m}]`, "a=zzy", "a=zzy b=m")
	f(`[]`, "", "")
}

func TestOptions(t *testing.T) {
	rules := func(text string) []*prom.Config { return rulesOf(t, text) }
	f := func(configs []*prom.Config, o relabel.Options, set, left, moved string, restored int) {
		t.Helper()
		in := setOf(set)
		res := relabel.Compile(configs, o).Apply(&relabel.Scratch{}, in)
		var move []labels.Label
		if res.Change != nil {
			move = res.Change.Move
		}
		if got := textOf(res.Change.Append(nil, in.All)); got != left || textOf(move) != moved || res.Restored != restored || res.DroppedBy >= 0 {
			t.Errorf("%s: got %s, moved %s, %d restored; want %s, moved %s, %d restored", set, got, textOf(move), res.Restored, left, moved, restored)
		}
	}
	ro := relabel.Options{ReadOnly: []string{"resource.", "scope."}}
	f(rules(`[{regex: 'a|resource\.a|scope\.name', action: labeldrop}]`), ro, "a=1 b=2 resource.a=2 scope.name=3", "b=2 resource.a=2 scope.name=3", "", 0)
	f(rules(`[{regex: '.*', action: labeldrop}]`), ro, "a=1 resource.a=2 scope.name=3", "resource.a=2 scope.name=3", "", 0)
	f(rules(`[{regex: 'a', action: labelkeep}]`), ro, "a=1 b=1 resource.a=2", "a=1 resource.a=2", "", 0)
	f(rules(`[{regex: '(.*)', replacement: 'resource.$1', action: labelmap}]`), ro, "a=1 resource.a=2", "a=1 resource.a=2", "", 0)
	f(rules(`[{regex: 'resource.(.*)', action: labelmap}]`), ro, "resource.a=2", "a=2 resource.a=2", "", 0)
	f(rules(`[{source_labels: [a], regex: '(.*)', target_label: 'resource.$1', replacement: x}]`), ro, "a=1", "a=1", "", 0)
	f(rules(`[{source_labels: [a], regex: '(b|c)+', target_label: 'resource.$1', replacement: x}]`), ro, "a=b", "a=b", "", 0)
	f(rules(`[{target_label: resource.a, replacement: ''}]`), ro, "resource.a=1", "resource.a=1", "", 0)
	f(rules(`[{source_labels: [a], target_label: resource.a, action: uppercase}]`), ro, "a=x resource.a=1", "a=x resource.a=1", "", 0)
	f(rules(`[{source_labels: [a], target_label: resource.a, modulus: 3, action: hashmod}]`), ro, "a=x", "a=x", "", 0)

	p := relabel.Options{Protected: []string{"le", "__name__"}}
	f(rules(`[{regex: 'l.*|__name__|pod', action: labeldrop}]`), p, "__name__=x le=1 lf=2 pod=3", "__name__=x le=1", "", 2)
	f(rules(`[{target_label: le, replacement: ''}]`), p, "le=1", "le=1", "", 1)
	f(rules(`[{target_label: le, replacement: '2'}]`), p, "le=1", "le=2", "", 0)
	f(rules(`[{target_label: le, replacement: '2'}, {regex: le, action: labeldrop}]`), p, "le=1 a=1", "a=1 le=1", "", 1)
	f(rules(`[{regex: le, action: labeldrop}, {target_label: le, replacement: '2'}]`), p, "le=1 a=1", "a=1 le=2", "", 0)
	f(rules(`[{target_label: le, replacement: '2'}, {regex: le, action: labeldrop}]`), p, "a=1", "a=1", "", 0)

	m := relabel.Options{Move: []string{"pod", "b", "a"}}
	f(nil, m, "a=1 b=2 c=3 pod=4", "c=3", "a=1 b=2 pod=4", 0)
	f(nil, m, "a=1 b=2 pod=4", "a=1", "b=2 pod=4", 0)
	f(nil, m, "pod=4", "pod=4", "", 0)
	f(nil, m, "c=4", "c=4", "", 0)
	f(nil, m, "", "", "", 0)
	f(rules(`[{source_labels: [c], target_label: pod}]`), m, "c=4", "c=4", "pod=4", 0)
	f(rules(`[{source_labels: [pod], target_label: pod, replacement: 'x$1'}]`), m, "c=4 pod=1", "c=4", "pod=x1", 0)
	f(nil, relabel.Options{Move: []string{"pod", "pod"}}, "c=4 pod=1", "c=4", "pod=1", 0)
	f(rules(`[{regex: '.*', action: labeldrop}]`), relabel.Options{Move: []string{"le"}, Protected: []string{"le", "z"}}, "le=1 z=1", "z=1", "le=1", 2)

	// The slices are the caller's.
	o := relabel.Options{Protected: []string{"le"}, ReadOnly: []string{"r."}, Move: []string{"pod"}}
	r := relabel.Compile(rules(`[{regex: '.*', action: labeldrop}]`), o)
	o.Protected[0], o.ReadOnly[0], o.Move[0] = "x", "x", "x"
	in := setOf("le=1 r.a=2")
	if res := r.Apply(&relabel.Scratch{}, in); res.Change != nil || res.Restored != 1 {
		t.Errorf("the options that Compile was given are kept: %+v", res)
	}
}

func TestNoLabels(t *testing.T) {
	f := func(set string, o relabel.Options, want bool) {
		t.Helper()
		r := relabel.Compile(rulesOf(t, `[{regex: 'a|__tmp', action: labeldrop}]`), o)
		if got := r.Apply(&relabel.Scratch{}, setOf(set)).NoLabels; got != want {
			t.Errorf("%q: NoLabels is %v, want %v", set, got, want)
		}
	}
	f("a=1", relabel.Options{}, true)
	f("a=1 __tmp_b=2", relabel.Options{}, true)
	f("__tmp_b=2", relabel.Options{}, true)
	f("", relabel.Options{}, false)
	f("a=1 b=1", relabel.Options{}, false)
	f("a=1", relabel.Options{Protected: []string{"a"}}, false)
}

func TestSamePrefix(t *testing.T) {
	f := func(a, b string, want int) {
		t.Helper()
		ra, rb := relabel.Compile(rulesOf(t, a), relabel.Options{}), relabel.Compile(rulesOf(t, b), relabel.Options{})
		if got := ra.SamePrefix(rb); got != want || rb.SamePrefix(ra) != want {
			t.Errorf("%s and %s have %d rules in common, want %d", a, b, got, want)
		}
	}
	drop, keep := `{regex: a, action: labeldrop}`, `{regex: a, action: labelkeep}`
	f("[]", "["+drop+"]", 0)
	f("["+drop+"]", "["+drop+","+keep+"]", 1)
	f("["+drop+","+keep+"]", "["+drop+","+keep+"]", 2)
	f("["+keep+","+keep+"]", "["+drop+","+keep+"]", 0)
	f(`[{target_label: a}]`, `[{target_label: a, regex: '(.*)', separator: ;, action: Replace}]`, 1)
	f(`[{target_label: a, separator: ','}]`, `[{target_label: a}]`, 0)
	f(`[{target_label: a, source_labels: [b, c]}]`, `[{target_label: a, source_labels: ['b, c']}]`, 0)
	f(`[{target_label: a, regex: 'a.b'}]`, `[{target_label: a, regex: 'a\.b'}]`, 0)
	f(`[{target_label: a, replacement: 'x'}]`, `[{target_label: a, replacement: 'y'}]`, 0)
	f(`[{target_label: a, modulus: 3, action: hashmod}]`, `[{target_label: a, modulus: 4, action: hashmod}]`, 0)
}

func TestMergedBy(t *testing.T) {
	f := func(rules, a, b string, protected []string, want int) {
		t.Helper()
		r := relabel.Compile(rulesOf(t, rules), relabel.Options{Protected: protected})
		if got := r.MergedBy(setOf(a).All, setOf(b).All); got != want {
			t.Errorf("%s: %s and %s are merged by %d, want %d", rules, a, b, got, want)
		}
	}
	drop := `[{regex: x, action: labeldrop}, {regex: pod, action: labeldrop}, {regex: y, action: labeldrop}]`
	f(drop, "a=1 pod=1", "a=1 pod=2", nil, 1)
	f(drop, "a=1 pod=1 y=1", "a=1 pod=2", nil, 2)
	f(drop, "a=1 pod=1 z=1", "a=1 pod=2", nil, -1)
	f(drop, "a=1", "a=1", nil, -1)
	f(drop, "a=1 pod=1", "a=1 pod=2", []string{"pod"}, -1)
	f(drop, "a=1 pod=1 y=1", "a=1 pod=1 y=2", []string{"pod"}, 2)
	f(drop, "a=1 __tmp=1", "a=1 __tmp=2", nil, -1)                                                                        // what comes after the rules did it
	f(`[{source_labels: [pod], target_label: __tmp}, {regex: pod, action: labeldrop}]`, "pod=1 a=1", "pod=2 a=1", nil, 1) // __tmp will not last
	f(`[{source_labels: [pod], target_label: __tmp}, {regex: pod, action: labeldrop}, {source_labels: [__tmp], target_label: pod}, {regex: pod, action: labeldrop}]`,
		"pod=1 a=1", "pod=2 a=1", nil, 3) // they differed again in between
	f(`[{source_labels: [pod], target_label: __tmp}, {regex: pod, action: labeldrop}, {source_labels: [__tmp], target_label: pod}]`,
		"pod=1 a=1", "pod=2 a=1", nil, -1)
	f(`[{regex: pod, action: labeldrop}, {source_labels: [a], regex: '1', action: drop}]`, "pod=1 a=1", "pod=2 a=1", nil, -1)
	f(`[{source_labels: [pod], target_label: pod, regex: '.*', replacement: all}]`, "pod=1", "pod=2", nil, 0)
}

func TestLenAndText(t *testing.T) {
	r := relabel.Compile(rulesOf(t, `[{target_label: a}, {regex: b, action: labeldrop}]`), relabel.Options{})
	if r.Len() != 2 || r.Text(0) != "{target_label: a, action: replace}" || r.Text(1) != "{regex: b, action: labeldrop}" {
		t.Errorf("%d rules: %s, %s", r.Len(), r.Text(0), r.Text(1))
	}
}

// TestNameless: a label without a name is not found by a rule, and else a label as all others.
func TestNameless(t *testing.T) {
	in := setOf("=x a=1")
	rules := rulesOf(t, `[{source_labels: [nameless], regex: '(.+)', target_label: b}, {regex: '', replacement: c, action: labelmap}]`)
	rules[0].SourceLabels[0] = "" // YAML of the library's own has none
	r := relabel.Compile(rules, relabel.Options{})
	if got := textOf(r.Apply(&relabel.Scratch{}, in).Change.Append(nil, in.All)); got != "=x a=1 c=x" {
		t.Error(got)
	}
}

// TestManyLabels has a rule write fifty thousand labels, again and again: in a time that grows with their number, not
// with its square, or this does not end.
func TestManyLabels(t *testing.T) {
	var set labels.Set
	for i := range 50_000 {
		set.Add(labels.Label{Name: "n" + strconv.Itoa(i), Value: "v" + strconv.Itoa(i)}, labels.Key{})
	}
	set.Sort()
	r := relabel.Compile(rulesOf(t, `[{regex: 'n(.*)', replacement: 'm$1', action: labelmap}, {regex: 'n.*', action: labeldrop}, {regex: 'm7', action: labeldrop},
		{source_labels: [m8], target_label: m9},
		{target_label: m10, replacement: ''}, {source_labels: [m11], target_label: m12}, {source_labels: [m9], target_label: __tmp1}, {regex: 'm(.*)', replacement: 'n$1', action: labelmap},
		{regex: 'm.*', action: labeldrop}]`), relabel.Options{})
	var s relabel.Scratch
	for range 2 {
		res := r.Apply(&s, &set)
		left := res.Change.Append(nil, set.All)
		if len(left) != 49_998 || textOf(res.Change.Add) != "n12=v11 n9=v8" {
			t.Fatalf("%d labels left, of which new %q", len(left), res.Change.Add)
		}
	}
	if res := r.Apply(&s, setOf("a=1")); res.Change != nil {
		t.Errorf("the set before shows in the next: %+v", res.Change)
	}
}

// TestConcurrent has goroutines use the same Rules, more texts than a memo holds, and see the library's answers.
func TestConcurrent(t *testing.T) {
	rules := rulesOf(t, `[{source_labels: [a], regex: '([a-z]+)(\d+)', target_label: '$1', replacement: '$2'}, {regex: '[x-z]\d+', action: labeldrop}]`)
	r := relabel.Compile(rules, relabel.Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var s relabel.Scratch
			for i := range 3000 {
				n := strconv.Itoa((i*(g+1) + i%7) % 1500)
				set := setOf("a=k" + n + " x" + n + "=1 w=2")
				want := "a=k" + n + " k=" + n + " w=2"
				if got := textOf(r.Apply(&s, set).Change.Append(nil, set.All)); got != want {
					t.Errorf("got %s, want %s", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestStringsOfResult: what one Apply gave may be compared with what the next gives once it was cloned, and only then; and
// what is remembered does not point into a push.
func TestStringsOfResult(t *testing.T) {
	r := relabel.Compile(rulesOf(t, `[{source_labels: [a], regex: '(x+)y+', target_label: '$1', replacement: '$1'}, {regex: '[f-g]x', replacement: h, action: labelmap}]`), relabel.Options{})
	var s relabel.Scratch
	value, name := []byte("xxyy"), []byte("fx")
	push := func() *labels.Set {
		var set labels.Set
		set.Add(labels.Label{Name: "a", Value: unsafeString(value)}, labels.Key{})
		set.Add(labels.Label{Name: unsafeString(name), Value: "1"}, labels.Key{})
		set.Sort()
		return &set
	}
	for range 4 {
		copy(value, "xxyy")
		copy(name, "fx")
		set := push()
		if got := textOf(r.Apply(&s, set).Change.Append(nil, set.All)); got != "a=xxyy fx=1 h=1 xx=xx" {
			t.Fatal(got)
		}
		copy(value, "zzzz")
		copy(name, "zz")
		set = push()
		if res := r.Apply(&s, set); res.Change != nil {
			t.Fatalf("%+v", res.Change)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	f := func(rules, set string, o relabel.Options) {
		t.Helper()
		r, in := relabel.Compile(rulesOf(t, rules), o), setOf(set)
		var s relabel.Scratch
		if n := testing.AllocsPerRun(200, func() { r.Apply(&s, in) }); n != 0 {
			t.Errorf("%s\nof %s: %v allocations", rules, set, n)
		}
	}
	set := "__name__=http_requests_total instance=10.0.0.1:9100 job=api le=0.5 pod=api-7 namespace=prod"
	all := relabel.Options{ReadOnly: []string{"resource."}, Protected: []string{"le", "__name__"}, Move: []string{"uid"}}
	f(`[{regex: 'uid|x_.*', action: labeldrop}, {source_labels: [__name__], regex: 'go_.*|process_.*', action: drop},
		{source_labels: [job, pod], regex: 'db;.*-(\d+)', target_label: shard}, {regex: '[xyz]_(.+)', action: labelmap},
		{source_labels: [instance], regex: '[^0-9]+', action: drop}, {source_labels: [job], regex: '(?i)API', action: keep}]`, set, all)
	// Not even when something changes, once the Scratch and the memos are warm.
	f(`[{regex: 'pod|uid', action: labeldrop}, {regex: 'l.*', action: labeldrop}, {source_labels: [instance], regex: '([^:]+):.*', target_label: host},
		{source_labels: [job, host], target_label: __tmp}, {source_labels: [__tmp], modulus: 8, action: hashmod, target_label: shard},
		{source_labels: [job], action: uppercase, target_label: job}, {regex: 'name(.*)', replacement: 'ns_$1', action: labelmap},
		{source_labels: [none], target_label: namespace}]`, set, relabel.Options{Protected: []string{"le"}, Move: []string{"job"}})
}

func TestLongTextIsGivenBack(t *testing.T) {
	// What one set of large values needed is not kept for ever: seen in that the next still works.
	r := relabel.Compile(rulesOf(t, `[{source_labels: [a, a], target_label: b}]`), relabel.Options{})
	var s relabel.Scratch
	long := strings.Repeat("x", 100_000)
	for _, v := range []string{"1", long, "2", long, "3"} {
		set := setOf("a=" + v)
		if got := r.Apply(&s, set).Change.Append(nil, set.All); !slices.Equal(got, []labels.Label{{Name: "a", Value: v}, {Name: "b", Value: v + ";" + v}}) {
			t.Errorf("a value of %d bytes became one of %d", len(v), len(got[1].Value))
		}
	}
}
