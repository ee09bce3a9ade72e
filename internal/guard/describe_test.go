package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

func TestDescribe(t *testing.T) {
	g := New(Options{Started: start, ExampleValues: true})
	environment := Limits{Key: environmentKey, ActiveSeries: 100, ActiveSeriesPerMetric: 40, ValuesPerLabel: 60, LabelsPerSeries: 6, LabelNameBytes: 40, LabelValueBytes: 50, LineBytes: 10}
	p := g.Policy(sender("app"), environment, Limits{Key: clientKey, ActiveSeries: 45}, false, nil)
	f := func(ls []labels.Label, want string) {
		t.Helper()
		r, found := p.Shape(ls)
		if !found {
			_, r, _ = p.Admit(start, ls, 1)
		}
		got := p.Describe(r, func(label string) []string {
			for _, l := range ls {
				if l.Name == label {
					return []string{l.Value, "two", "three", "4", "5", "6"}
				}
			}
			return nil
		})
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for i := range 40 {
		p.Admit(start, series("requests_total", "pod", "a", "user_id", fmt.Sprint("u", i)), 1)
	}
	f(series("requests_total", "pod", "a", "user_id", "new\nline"),
		`environment prod, client app: metric requests_total: label user_id grew to about 10 values since 2026-03-01T12:00:00Z `+
			`(such as "new\nline", "two", "three", "4", "5"): 41 active series of the metric, over environments.prod.metrics.limits.active_series_per_metric=40`)
	for i := range 5 {
		p.Admit(start, series("x", "a", fmt.Sprint(i)), 1)
	}
	f(series("a metric \"", "zone", "z", "b", "1"),
		`environment prod, client app: metric "a metric \"": 46 active series, over environments.prod.clients.app.limits.active_series=45`)
	f(series("a metric \"", "zone", "z2", "b", "1"),
		`environment prod, client app: metric "a metric \"": label zone grew to about 2 values since 2026-03-01T12:00:00Z `+
			`(such as "z2", "two", "three", "4", "5"): 46 active series, over environments.prod.clients.app.limits.active_series=45`)
	f(series("m", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6"),
		`environment prod, client app: metric m: 7 labels, over environments.prod.metrics.limits.labels_per_series=6`)
	f(series("m", strings.Repeat("n", 41), "1"),
		`environment prod, client app: metric m: label name nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn of 41 bytes, over environments.prod.metrics.limits.label_name_bytes=40`)
	f(series("m", "v", strings.Repeat("n", 51)),
		`environment prod, client app: metric m: label v: a value of 51 bytes, over environments.prod.metrics.limits.label_value_bytes=50`)

	if r, found := p.TooLong(11); !found || p.Describe(r, nil) !=
		`environment prod, client app: a line of 11 bytes, over environments.prod.metrics.limits.line_bytes=10` {
		t.Errorf("a line: %v %s", found, p.Describe(r, nil))
	}
}

func TestDescribeValues(t *testing.T) {
	f := func(o Options, l Limits, want string) {
		t.Helper()
		o.Started = start
		l.Key = environmentKey
		p := New(o).Policy(Sender{"prod", "app", "logs"}, l, Limits{}, false, nil)
		var r Refusal
		for i := range 6 {
			_, r, _ = p.Admit(start.Add(time.Duration(i)*time.Minute), series("", "job", "j", "trace", fmt.Sprint(i)), 1)
		}
		if got := p.Describe(r, func(string) []string { return []string{strings.Repeat("é", 40)} }); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(Options{ExampleValues: true}, Limits{ValuesPerLabel: 3},
		`environment prod, client app: label trace, which grows since 2026-03-01T12:03:00Z (such as "`+strings.Repeat("é", 32)+`"): 4 values, over environments.prod.metrics.limits.values_per_label=3`)
	f(Options{}, Limits{ValuesPerLabel: 3},
		`environment prod, client app: label trace, which grows since 2026-03-01T12:03:00Z: 4 values, over environments.prod.metrics.limits.values_per_label=3`)
	f(Options{}, Limits{ValuesPerLabel: 3, Observe: true},
		`environment prod, client app: observed only: label trace, which grows since 2026-03-01T12:03:00Z: 4 values, over environments.prod.metrics.limits.values_per_label=3`)
	f(Options{}, Limits{ActiveSeries: 3, Observe: true},
		`environment prod, client app: observed only: label trace grew to about 3 values since 2026-03-01T12:03:00Z: 6 active streams, over environments.prod.metrics.limits.active_series=3`)
	f(Options{Warmup: time.Hour}, Limits{ActiveSeries: 2},
		`environment prod, client app: label trace grew to about 3 values since 2026-03-01T12:03:00Z: 4 active streams, `+
			`over environments.prod.metrics.limits.active_series=2 (3 until 2026-03-01T13:00:00Z, after a start)`)
}

func TestDescribeIsOneLine(t *testing.T) {
	p := New(Options{Started: start, ExampleValues: true}).Policy(sender("app"), Limits{ActiveSeries: 1}, Limits{}, false, nil)
	p.Admit(start, series("first"), 1)
	for _, junk := range []string{"\n", "a\x00b", "\xff\xfe", strings.Repeat("x", 10000), strings.Repeat("日本", 5000), "‮right", "\x1b[31m"} {
		for i := range 3 {
			_, r, _ := p.Admit(start, series(junk, junk, fmt.Sprint(junk, i)), 1)
			got := p.Describe(r, func(string) []string { return []string{junk, junk} })
			if len(got) > 1000 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00\x1b‮") {
				t.Errorf("%.20q makes %d bytes: %q", junk, len(got), got)
			}
		}
	}
}
