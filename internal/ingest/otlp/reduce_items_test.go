package otlp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/relabel"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// itemCase is how a push of spans or records is reduced.
type itemCase struct {
	stamps          []labels.Label
	rules, resource []*relabel.Config
	metadata        []string
	longest         int
	traces          *ingest.TraceRules
}

// reducer is the Reducer of c, and how many lines it was told are too long.
func (c *itemCase) reducer(t testing.TB) (r *reducetest.Reducer, refused *int) {
	r, refused = reducetest.New(t, c.stamps, c.rules, c.resource), new(int)
	r.Metadata, r.LongestLine = c.metadata, c.longest
	r.TooLong = func(n int) bool {
		if n <= c.longest {
			t.Fatalf("told of a line of %d bytes", n)
		}
		*refused++
		return true
	}
	return r, refused
}

// stocks is where the pushes of differential tests build: in what those before them have left behind.
var stocks ingest.Pool

// reduce has raw reduced and written, twice, and sees to it that the books balance.
func (c *itemCase) reduce(t testing.TB, signal string, raw []byte, content ingest.Content) ([]byte, ingest.Result) {
	t.Helper()
	p := references[signal].http
	content.Stock = stocks.Stock()
	defer stocks.Restock(content.Stock)
	b, err := p.Decode(raw, content)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(raw)
	items := b.Items()
	r, refused := c.reducer(t)
	if err := b.Reduce(r.Reducer); err != nil {
		t.Fatal(err)
	}
	e := ingest.Edit{Form: p.Forms[0], Stamps: c.stamps, Traces: c.traces}
	var out []byte
	var res ingest.Result
	for again := range 2 {
		bound := b.Bound(e)
		dst := append(make([]byte, 0, 3+bound), "pre"...)
		if res, err = b.Encode(dst, e); err != nil {
			t.Fatal(err)
		}
		body := raw
		if res.Unchanged != (bound == 0) && len(res.Body) > 3 {
			t.Fatalf("unchanged %t with a bound of %d", res.Unchanged, bound)
		}
		if !res.Unchanged {
			if len(res.Body) > 3+bound || bound > 0 && &res.Body[0] != &dst[0] {
				t.Fatalf("%d bytes, bound %d", len(res.Body)-3, bound)
			}
			body = bytes.Clone(res.Body[3:])
		}
		if again == 1 && !bytes.Equal(out, body) {
			t.Fatal("written twice it is not the same")
		}
		out = body
	}
	if sum := res.Sent.Items + itemsOf(res.Refused) + itemsOf(res.Dropped) + r.Dropped + *refused; sum != items || b.Items() != items {
		t.Fatalf("of %d items %d are accounted for: %+v, rules dropped %d, too long %d", items, sum, res, r.Dropped, *refused)
	}
	if !bytes.Equal(raw, before) {
		t.Fatal("what was received was written to")
	}
	left, err := p.Decode(out, ingest.Content{})
	if err != nil || left.Items() != res.Sent.Items {
		t.Fatalf("%d items leave, %d are there (%v)", res.Sent.Items, left.Items(), err)
	}
	return out, res
}

// relabelled is what Prometheus makes of ls.
func relabelled(t testing.TB, ls []labels.Label, rules []*relabel.Config) (final []labels.Label, keep bool) {
	set := &labels.Set{All: ls, Keys: make([]labels.Key, len(ls))}
	change, verdict := reducetest.New(t, nil, rules, nil).Item(set)
	return change.Append(nil, ls), verdict == ingest.Pass
}

// seen is what rules see: the first that has a value counts.
func seen(pairs ...[]labels.Label) []labels.Label {
	var set labels.Set
	for _, p := range pairs {
		for _, l := range p {
			set.Add(l, labels.Key{})
		}
	}
	set.Sort()
	return set.All
}

func textsOf(m pcommon.Map, prefix string) (ls []labels.Label) {
	for k, v := range m.All() {
		ls = append(ls, labels.Label{Name: prefix + k, Value: v.AsString()})
	}
	return ls
}

// rewriteMap makes m what final says, where it was seen as was. Reserved names are no attributes.
func rewriteMap(m pcommon.Map, was, final []labels.Label, reserved func(string) bool) (changed bool) {
	var added []labels.Label
	gone := map[string]bool{}
	for _, l := range final {
		if !slices.Contains(was, l) && !reserved(l.Name) {
			added = append(added, l)
			gone[l.Name] = true
		}
	}
	for _, l := range was {
		if !slices.Contains(final, l) && !reserved(l.Name) {
			gone[l.Name] = true
		}
	}
	m.RemoveIf(func(k string, _ pcommon.Value) bool { return gone[k] })
	for _, l := range added {
		m.PutStr(l.Name, l.Value)
	}
	return !slices.Equal(was, final)
}

func valueOf(ls []labels.Label, name string) string {
	for _, l := range ls {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func reservedOf(signal string) func(string) bool {
	return func(name string) bool {
		return strings.HasPrefix(name, "resource.") || name == "scope.name" || name == "scope.version" || signal == "traces" && name == "__name__"
	}
}

// naiveResource is what becomes of a resource, stamped; drop: it goes.
func (c *itemCase) naiveResource(t testing.TB, m pcommon.Map) (drop bool) {
	stampMap(m, c.stamps)
	if c.resource == nil {
		return false
	}
	was := seen(textsOf(m, ""))
	final, keep := relabelled(t, was, c.resource)
	rewriteMap(m, was, final, func(string) bool { return false })
	return !keep
}

// naiveItem is what becomes of an item, out of which around is. It returns the name that it gets.
func (c *itemCase) naiveItem(t testing.TB, signal string, m pcommon.Map, name string, scope pcommon.InstrumentationScope, resource []labels.Label) (newName string, drop bool) {
	if c.rules == nil {
		return name, false
	}
	own := textsOf(m, "")
	around := []labels.Label{{Name: "scope.name", Value: scope.Name()}, {Name: "scope.version", Value: scope.Version()}}
	if signal == "traces" {
		around = append(around, labels.Label{Name: "__name__", Value: name})
		own = slices.DeleteFunc(own, func(l labels.Label) bool { return l.Name == "__name__" })
	}
	was := seen(around, resource, own)
	final, keep := relabelled(t, was, c.rules)
	if !keep {
		return name, true
	}
	rewriteMap(m, was, final, reservedOf(signal))
	if v := valueOf(final, "__name__"); signal == "traces" && v != "" {
		name = v
	}
	return name, false
}

// expectSpans is what should be left of raw.
func (c *itemCase) expectSpans(t testing.TB, raw []byte) (view []byte, o outcome, err error) {
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		return nil, o, err
	}
	_, came, err := expect(raw, nil, nil)
	if err != nil {
		return nil, o, err
	}
	bad := func(s ptrace.Span) bool { return s.TraceID().IsEmpty() || s.SpanID().IsEmpty() }
	dropped := map[ptrace.ResourceSpans]bool{}
	for _, rs := range req.Traces().ResourceSpans().All() {
		dropped[rs] = c.naiveResource(t, rs.Resource().Attributes())
	}
	req.Traces().ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool { return dropped[rs] })
	gone := map[ptrace.Span]bool{}
	for _, rs := range req.Traces().ResourceSpans().All() {
		resource := textsOf(rs.Resource().Attributes(), "resource.")
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if bad(s) {
					gone[s] = true
					continue
				}
				name, drop := c.naiveItem(t, "traces", s.Attributes(), s.Name(), ss.Scope(), resource)
				s.SetName(name)
				gone[s] = drop
			}
		}
	}
	removeSpans(req.Traces(), func(_ ptrace.ResourceSpans, s ptrace.Span) bool { return gone[s] })
	reduced, err := req.MarshalProto()
	if err != nil {
		return nil, o, err
	}
	view, o, err = expect(reduced, nil, c.traces)
	o.unnamed, o.refused = came.unnamed, came.refused
	return view, o, err
}

// expectRecords is what should be left of raw.
func (c *itemCase) expectRecords(t testing.TB, raw []byte) (view []byte, metadataBytes int, err error) {
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		return nil, 0, err
	}
	req.Logs().ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		attrs := rl.Resource().Attributes()
		if c.naiveResource(t, attrs) {
			return true
		}
		scopes := rl.ScopeLogs().Len()
		resource := textsOf(attrs, "resource.")
		moved := pcommon.NewMap()
		records := 0
		for _, sl := range rl.ScopeLogs().All() {
			records += sl.LogRecords().Len()
		}
		all := seen(textsOf(attrs, ""))
		for _, name := range c.metadata {
			if len(all) < 2 || valueOf(all, name) == "" || records == 0 {
				continue
			}
			all = slices.DeleteFunc(slices.Clone(all), func(l labels.Label) bool { return l.Name == name })
			firstOf(attrs, name).CopyTo(moved.PutEmpty(name))
			attrs.RemoveIf(func(k string, _ pcommon.Value) bool { return k == name })
		}
		rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool {
			was := sl.LogRecords().Len()
			sl.LogRecords().RemoveIf(func(l plog.LogRecord) bool {
				if _, drop := c.naiveItem(t, "logs", l.Attributes(), "", sl.Scope(), resource); drop || c.longest > 0 && len(l.Body().Str()) > c.longest {
					return true
				}
				for k, v := range moved.All() {
					for name := k; ; name += "_extracted" {
						had := firstOf(l.Attributes(), name).AsString()
						if had == v.AsString() {
							break
						}
						if had == "" {
							l.Attributes().RemoveIf(func(k string, _ pcommon.Value) bool { return k == name })
							v.CopyTo(l.Attributes().PutEmpty(name))
							metadataBytes += len(name) + len(v.AsString())
							break
						}
					}
				}
				return false
			})
			return was > 0 && sl.LogRecords().Len() == 0
		})
		return scopes > 0 && rl.ScopeLogs().Len() == 0
	})
	view, err = req.MarshalProto()
	return view, metadataBytes, err
}

// firstOf is the first attribute of that name which has a value.
func firstOf(m pcommon.Map, name string) pcommon.Value {
	for k, v := range m.All() {
		if k == name && v.AsString() != "" {
			return v
		}
	}
	return pcommon.NewValueEmpty()
}

// check compares what is left of raw with what pdata and Prometheus leave of it.
func (c *itemCase) check(t testing.TB, signal string, raw []byte, content ingest.Content) ingest.Result {
	t.Helper()
	source := raw
	if content.JSON {
		var err error
		if source, _, err = references[signal].viewJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	out, r := c.reduce(t, signal, raw, content)
	var want, got []byte
	var err error
	if signal == "traces" {
		var o outcome
		if want, o, err = c.expectSpans(t, source); err != nil {
			t.Fatal(err)
		}
		if outcomeOf(r) != o {
			t.Fatalf("%+v, want %+v", outcomeOf(r), o)
		}
		view := ptraceotlp.NewExportRequest()
		if err = view.UnmarshalProto(out); err == nil {
			got, err = view.MarshalProto()
		}
	} else {
		var metadataBytes int
		if want, metadataBytes, err = c.expectRecords(t, source); err != nil {
			t.Fatal(err)
		}
		if r.MetadataBytes != metadataBytes {
			t.Fatalf("%d bytes of metadata, want %d", r.MetadataBytes, metadataBytes)
		}
		view := plogotlp.NewExportRequest()
		if err = view.UnmarshalProto(out); err == nil {
			got, err = view.MarshalProto()
		}
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: pdata and Prometheus leave something else (%v)\ngot  %s\nwant %s", signal, err, show(signal, got), show(signal, want))
	}
	return r
}

func show(signal string, proto []byte) string {
	if signal == "traces" {
		r := ptraceotlp.NewExportRequest()
		if err := r.UnmarshalProto(proto); err != nil {
			return err.Error()
		}
		return string(must(r.MarshalJSON()))
	}
	r := plogotlp.NewExportRequest()
	if err := r.UnmarshalProto(proto); err != nil {
		return err.Error()
	}
	return string(must(r.MarshalJSON()))
}

// itemRules are rules of every kind, for items and resources alike.
var itemRules = []string{
	`- {action: labeldrop, regex: attribute.1}`,
	`- {action: labeldrop, regex: 'attribute\..*'}`,
	`- {action: labeldrop, regex: '.*'}`,
	`- {action: labelkeep, regex: 'attribute\.[0-3]|__name__|team'}`,
	`- {action: labelmap, regex: 'attribute\.(.*)', replacement: 'mapped.$1'}`,
	`- {action: labelmap, regex: '(resource|scope)\.(.*)', replacement: 'around.$2'}`,
	`- {action: drop, source_labels: [attribute.2], regex: '(t|v|1).*'}`,
	`- {action: drop, source_labels: [resource.attribute.0], regex: '.*[02468]'}`,
	`- {action: drop, source_labels: [environment], regex: 'prod'}`,
	`- {action: drop, source_labels: [nothing], regex: ''}`,
	`- {action: keep, source_labels: [attribute.0], regex: '.+'}`,
	`- {action: keep, source_labels: [scope.name], regex: 'scope'}`,
	`- {target_label: attribute.new, source_labels: [__name__, resource.attribute.1, scope.version], separator: /}`,
	`- {target_label: __name__, source_labels: [__name__], regex: '(GET).*', replacement: '$1'}`,
	`- {target_label: __name__, replacement: ''}`,
	`- {target_label: attribute.0, replacement: x}`,
	`- {target_label: attribute.1, replacement: ''}`,
	`- {target_label: service.name, replacement: given}`,
	`- {action: labeldrop, regex: 'service.name|environment'}`,
	`- {target_label: environment, replacement: dev}`,
	`- {action: hashmod, modulus: 3, source_labels: [attribute.0, attribute.1], target_label: shard}`,
	`- {action: keep, source_labels: [nothing], regex: ''}`,
}

func randomItemRules(t testing.TB, r *rand.Rand) []*relabel.Config {
	if r.IntN(2) == 0 {
		return nil
	}
	var text string
	for range 1 + r.IntN(3) {
		text += itemRules[r.IntN(len(itemRules))] + "\n"
	}
	return reducetest.Rules(t, text)
}

// oddAttributes gives m attributes that are called like what they are not.
func oddAttributes(r *rand.Rand, m pcommon.Map) {
	for _, name := range []string{"__name__", "resource.attribute.0", "resource.own", "scope.name", "scope.version"} {
		if r.IntN(8) == 0 {
			m.PutStr(name, "odd")
		}
	}
}

func randomPush(r *rand.Rand, signal string) (proto, json []byte) {
	if signal == "traces" {
		td := randomSpans(r, r.IntN(40))
		for _, rs := range td.ResourceSpans().All() {
			oddAttributes(r, rs.Resource().Attributes())
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					oddAttributes(r, s.Attributes())
				}
			}
		}
		req := ptraceotlp.NewExportRequestFromTraces(td)
		return must(req.MarshalProto()), must(req.MarshalJSON())
	}
	ld := randomLogs(r, r.IntN(40))
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, l := range sl.LogRecords().All() {
				oddAttributes(r, l.Attributes())
				l.Body().SetStr(strings.Repeat("y", r.IntN(40)))
			}
		}
	}
	req := plogotlp.NewExportRequestFromLogs(ld)
	return must(req.MarshalProto()), must(req.MarshalJSON())
}

func randomItemCase(t testing.TB, r *rand.Rand, signal string) *itemCase {
	c := &itemCase{rules: randomItemRules(t, r), resource: randomItemRules(t, r)}
	if signal == "traces" {
		if r.IntN(3) > 0 {
			c.stamps, c.traces = randomRules(r)
		}
	} else {
		c.stamps = stamps[:r.IntN(3)]
		c.longest = []int{0, 20, 1000}[r.IntN(3)]
		for i := range r.IntN(4) {
			c.metadata = append(c.metadata, fmt.Sprintf("attribute.%d", i))
		}
	}
	return c
}

// TestReduceItems compares pushes of all kinds under rules of all kinds with pdata, Prometheus and pkg/sampling.
func TestReduceItems(t *testing.T) {
	for _, signal := range []string{"traces", "logs"} {
		t.Run(signal, func(t *testing.T) {
			r := rand.New(rand.NewPCG(51, 52))
			var unchanged, empty, whole int
			for range 200 {
				c := randomItemCase(t, r, signal)
				proto, json := randomPush(r, signal)
				res := c.check(t, signal, proto, ingest.Content{})
				c.check(t, signal, json, ingest.Content{JSON: true})
				switch {
				case res.Unchanged:
					unchanged++
				case res.Sent.Items == 0:
					empty++
				default:
					whole++
				}
			}
			if min(unchanged, empty, whole) < 5 {
				t.Errorf("%d pushes leave unchanged, %d empty, %d otherwise: not all is tested", unchanged, empty, whole)
			}
		})
	}
}

// rulesOf are rules of the list by the bits of which.
func rulesOf(t testing.TB, which uint32) (rules []*relabel.Config) {
	var text string
	for i, r := range itemRules {
		if which>>i&1 != 0 {
			text += r + "\n"
		}
	}
	return reducetest.Rules(t, text)
}

func FuzzReduceItems(f *testing.F) {
	r := rand.New(rand.NewPCG(53, 54))
	for i := range 40 {
		signal := []string{"traces", "logs"}[i%2]
		proto, _ := randomPush(r, signal)
		f.Add(i%2 == 0, proto, uint32(1)<<r.IntN(22)|uint32(1)<<r.IntN(22), uint32(1)<<r.IntN(30), uint8(i))
	}
	double := sub(1, sub(1, attr(1, "attribute.0", "1"), attr(1, "attribute.0", "2")), sub(1, attr(1, "attribute.1", ""), attr(1, "attribute.1", "x")),
		sub(2, sub(2, spanIDs, attr(9, "attribute.0", ""), attr(9, "attribute.0", "3"), attr(6, "attribute.1", "4"), attr(6, "attribute.1", "5"))))
	f.Add(true, double, uint32(1), uint32(0), uint8(0))
	f.Add(false, double, uint32(1), uint32(1), uint8(6))
	f.Fuzz(func(t *testing.T, spans bool, raw []byte, rules, resource uint32, how uint8) {
		signal := "logs"
		if spans {
			signal = "traces"
		}
		if _, err := references[signal].http.Decode(raw, ingest.Content{}); err != nil {
			return
		}
		c := &itemCase{rules: rulesOf(t, rules), resource: rulesOf(t, resource), stamps: stamps[:how%3]}
		if signal == "traces" {
			c.traces = fuzzedRules[int(how/3)%len(fuzzedRules)]
		} else if how/3%2 == 0 {
			c.metadata = []string{"attribute.1", "attribute.0", "environment"}
		}
		// pkg/sampling refuses 32 members, which W3C allows, and pdata some scalars.
		_, _, err := references[signal].view(raw, nil)
		if err == nil && signal == "traces" {
			_, _, err = expect(raw, nil, nil)
		}
		if err != nil || signal == "traces" && bytes.Count(raw, []byte(",")) > 30 {
			c.reduce(t, signal, raw, ingest.Content{})
			return
		}
		c.check(t, signal, raw, ingest.Content{})
	})
}
