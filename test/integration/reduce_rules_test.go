package integration

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// firstRules use every action; secondRules are what a reload puts in their place. The label id stays, so that no two series
// become one.
var firstRules = []string{
	`{action: drop, source_labels: [__name__], regex: "debug_.*"}`,
	`{action: keep, source_labels: [job], regex: "api|web|batch"}`,
	`{source_labels: [instance], regex: "([^:]+):\\d+", target_label: host}`,
	`{source_labels: [__name__, code], separator: "@", regex: "http_(.+)@200", target_label: __name__, replacement: "ok_${1}"}`,
	`{source_labels: [job, path], separator: "", target_label: route}`,
	`{source_labels: [path], regex: "/(?P<first>[^/]*).*", target_label: "${first}_seen", replacement: "yes"}`,
	`{action: lowercase, source_labels: [region], target_label: region}`,
	`{action: uppercase, source_labels: [path, region], target_label: loud}`,
	`{action: hashmod, source_labels: [id, job], modulus: 7, target_label: __tmp_shard}`,
	`{action: drop, source_labels: [__tmp_shard], regex: "3"}`,
	`{action: hashmod, source_labels: [id], modulus: 16, target_label: shard}`,
	`{action: labelmap, regex: "app_(.+)", replacement: "mapped_${1}"}`,
	`{action: labeldrop, regex: "app_.*|instance"}`,
	`{action: keepequal, source_labels: [zone], target_label: zone_wanted}`,
	`{action: dropequal, source_labels: [from], target_label: to}`,
	`{source_labels: [environment], regex: "prod", target_label: stamped, replacement: "seen"}`,
	`{action: labelkeep, regex: "__name__|le|quantile|cluster|__replica__|environment|id|job|host|route|.*_seen|region|loud|shard|mapped_.*|zone|stamped|service"}`,
}

var secondRules = []string{
	`{action: labelmap, regex: "app_(.+)"}`,
	`{action: drop, source_labels: [code, region], regex: "200;.*|.*;us-.*"}`,
	`{source_labels: [zone], regex: "", target_label: zone, replacement: "none"}`,
	`{action: replace, source_labels: [path], regex: "/a.*", target_label: path, replacement: ""}`,
	`{action: labeldrop, regex: "from|to"}`,
}

// rulesKey is rules as they stand in the configuration.
func rulesKey(rules []string) string { return "relabel_configs: [" + strings.Join(rules, ", ") + "]" }

// parseRules is Prometheus' own reading of rules.
func parseRules(t testing.TB, rules []string) []*relabel.Config {
	t.Helper()
	cfg, err := config.Load("scrape_configs: [{job_name: x, metric_"+rulesKey(rules)+"}]", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.ScrapeConfigs[0].MetricRelabelConfigs
}

// relabeled is what Prometheus makes of a series that came with ls and was stamped.
func relabeled(rules []*relabel.Config, ls labels.Labels) (out labels.Labels, keep bool) {
	b := labels.NewBuilder(ls).Set("environment", "prod")
	if !relabel.ProcessBuilder(b, rules...) {
		return labels.EmptyLabels(), false
	}
	b.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, "__tmp") {
			b.Del(l.Name)
		}
	})
	return b.Labels(), true
}

// ruleLabels are labels with and without everything that the rules look at.
func ruleLabels(rnd *rand.Rand, id int) map[string]string {
	some := func(values ...string) string { return values[rnd.IntN(len(values))] }
	ls := map[string]string{
		"id": fmt.Sprintf("%04d", id), "job": some("api", "web", "batch", "cron"), "from": some("a", "b"),
		"instance": fmt.Sprintf("10.0.0.%d%s", rnd.IntN(20), some(":9090", ":80", "")),
	}
	for _, one := range [][]string{
		{"path", "/", "/a/b", "/ü x/\"q\"\n", "/b"}, {"region", "EU-West", "us-East", "ÄÖ"}, {"code", "200", "404"}, {"app_name", "x", "y"},
		{"app_version", "1", "2"}, {"zone", "z1", "z2"}, {"zone_wanted", "z1", "z2"}, {"to", "a", "b", "c"}, {"environment", "dev", "prod"},
		{"cluster", "c1"}, {"other", "o"},
	} {
		if rnd.IntN(3) > 0 {
			ls[one[0]] = some(one[1:]...)
		}
	}
	return ls
}

// ruleSeries are n series with them. Their order is the same at every run, as is what they hold.
func ruleSeries(n int) (all []series) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for id := range n {
		b := labels.NewBuilder(labels.FromMap(ruleLabels(rnd, id)))
		name := []string{"http_requests_total", "debug_heap", "up", "http_size_bytes"}[rnd.IntN(4)]
		all = append(all, series{labels: b.Set(labels.MetricName, name).Labels(), meta: newSeries(name, model.MetricTypeGauge).meta})
	}
	return all
}

// The labels that arrive are those that Prometheus' own relabelling makes: for series that come first and come again, after
// a reload too, in both versions.
func TestRulesRemoteWrite(t *testing.T) {
	t.Parallel()
	f := func(proto remoteapi.WriteMessageType) {
		t.Helper()
		t.Run(string(proto), func(t *testing.T) {
			rc := newPromReceiver(t, proto)
			upstreams := "    upstreams:\n" + newUpstream(t, rc).yaml("prometheus", "/api/v1/push", "")
			with := func(rules []string) string {
				return upstreams + "    metrics: {labels: {environment: prod}, " + rulesKey(rules) + "}\n"
			}
			g := startGateway(t, with(firstRules))
			s := newPromSender(t, g.http, proto, nil)
			all, want, dropped := ruleSeries(300), newArrivals(), 0
			phase := func(name string, from, to int, rules []string) {
				t.Helper()
				s.want = newArrivals()
				for i := from; i < to; i++ {
					s.appendMixed(i, all)
				}
				reference, kept := parseRules(t, rules), want.len()
				s.want.mapped(func(e entry) entry {
					ls, keep := relabeled(reference, e.labels)
					switch {
					case keep:
						want.put(e.kind, ls, e.items...)
					case e.kind == "samples":
						dropped += len(e.items)
					}
					return e
				})
				if kept == want.len() || want.len() == kept+s.want.len() {
					t.Fatalf("%s: the rules keep everything or nothing", name)
				}
				s.delivered(rc.got, want.len(), 20*time.Second)
				want.checkEqual(t, name, rc.got)
			}
			phase("unknown", 0, 1, firstRules)
			phase("known", 1, 3, firstRules)
			g.reload(prod(with(secondRules)))
			phase("after a reload", 3, 4, secondRules)
			phase("known after it", 4, 6, secondRules)
			g.reload(prod(with(firstRules)))
			phase("as at first", 6, 7, firstRules)

			want.withoutStart().withoutHints().withoutExemplars().checkEqual(t, "in the receiver's TSDB", rc.stored().withoutHints())
			g.checkBooks(map[string]float64{"relabel_drop": float64(dropped)})
			if n := g.metric("gateway_rule_items_dropped_total"); int(n) != dropped {
				t.Errorf("gateway_rule_items_dropped_total is %g, want %d", n, dropped)
			}
			if s.failed() != 0 || s.retried() != 0 || g.metric("gateway_collisions_total") != 0 {
				t.Errorf("the sender counts %s and %g collisions, want none failed, retried or met", s.state(), g.metric("gateway_collisions_total"))
			}
		})
	}
	f(v1)
	f(v2)
}

// appendMixed appends the i-th scrape: floats, and some native histograms and exemplars.
func (s *promSender) appendMixed(i int, all []series) {
	s.t.Helper()
	tx := s.begin()
	for k, sr := range all {
		switch {
		case k%10 == 0:
			tx.add(sr, i, 0, tsdbutil.GenerateTestHistogram(int64(i)), nil)
		case k%10 == 1:
			trace := labels.FromStrings("trace_id", fmt.Sprintf("%032x", i*1000+k))
			tx.add(sr, i, float64(i), nil, nil, exemplar.Exemplar{Labels: trace, Value: 1, Ts: s.at(i), HasTs: true})
		default:
			tx.add(sr, i, float64(k*1000+i), nil, nil)
		}
	}
	tx.commit()
}

// The same for streams, through both of Loki's encodings.
func TestRulesLoki(t *testing.T) {
	t.Parallel()
	rc := &lokiReceiver{t: t}
	upstreams := "    upstreams:\n" + newUpstream(t, rc).yaml("loki", "/loki/api/v1/push", "")
	with := func(rules []string) string {
		return upstreams + "    logs: {labels: {environment: prod}, " + rulesKey(rules) + "}\n"
	}
	g := startGateway(t, with(firstRules))
	dropped := 0
	at := time.Unix(1700000000, 1)
	phase := func(name string, rules []string) {
		t.Helper()
		rnd, reference := rand.New(rand.NewPCG(5, 6)), parseRules(t, rules)
		var streams, left []push.Stream
		for id := range 200 {
			ls := labels.FromMap(ruleLabels(rnd, id))
			var entries []push.Entry
			for i := range 1 + id%3 {
				at = at.Add(1)
				entries = append(entries, push.Entry{Timestamp: at, Line: fmt.Sprintf("line %d of %d", i, id), StructuredMetadata: push.LabelsAdapter{{Name: "trace_id", Value: "t"}}})
			}
			streams = append(streams, push.Stream{Labels: ls.String(), Entries: entries})
			if out, keep := relabeled(reference, ls); keep {
				left = append(left, push.Stream{Labels: out.String(), Entries: entries})
			} else {
				dropped += len(entries)
			}
		}
		if len(left) == 0 || len(left) == len(streams) {
			t.Fatalf("%s: the rules keep %d of %d streams", name, len(left), len(streams))
		}
		want := renderStreams(t, left)
		slices.Sort(want)
		if strings.Contains(name, "JSON") {
			pushLoki(t, g, name, "application/json", "gzip", gzipped(t, lokiJSON(t, streams)))
		} else {
			pushLoki(t, g, name, "application/x-protobuf", "", lokiProtobuf(t, streams))
		}
		checkLines(t, name, want, rc.take())
	}
	phase("unknown", firstRules)
	phase("known", firstRules)
	phase("known, as JSON", firstRules)
	g.reload(prod(with(secondRules)))
	phase("after a reload, as JSON", secondRules)
	phase("known after it", secondRules)
	g.checkBooks(map[string]float64{"relabel_drop": float64(dropped)})
}
