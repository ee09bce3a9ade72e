package gateway

import (
	_ "embed" // the status page
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/guard"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/reduce"
)

// pageRows is how many lines of a kind the status page shows. The status API has all of them.
const pageRows = 20

//go:embed status.html
var statusHTML string

var statusTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
	"n": grouped, "b": sizeText, "of": percent, "number": func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) },
	"clock": func(t time.Time) string { return t.UTC().Format("15:04:05Z07:00") },
	"day":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z07:00") },
	"join":  func(list []string) string { return strings.Join(list, ", ") },
}).Parse(statusHTML))

// statusPage shows what the status API says: the part that somebody wants to see who was just woken up.
func (g *Gateway) statusPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	// A page that moves under a reader's eyes can be told to stay.
	_ = statusTemplate.Execute(w, g.page(time.Now(), r.URL.Query().Get("refresh") != "off"))
}

// page is what status.html shows.
type page struct {
	Version, File, Hash   string
	Refresh               bool
	Inflight, MaxInflight int64
	Secrets               any
	// Cardinality is of all environments; what belongs to one is in Environments.
	Cardinality  cardinalityStatus
	Environments []pageEnvironment
}

type pageEnvironment struct {
	environmentStatus
	Series     []guard.SpaceReport // signals that have series, or have had
	Limits     capped[limitStatus]
	Refusals   capped[pageRefusal]
	Collisions capped[reduce.Collision]
	Rules      capped[pageRule]
}

type pageRefusal struct {
	Signal string
	guard.RefusalReport
}

// pageRule is a rule and what it has dropped.
type pageRule struct {
	Key, Text string
	Items     int64
}

// capped is a list of at most pageRows, and how many more there are.
type capped[T any] struct {
	List []T
	More int
}

func (c *capped[T]) add(one T) {
	if len(c.List) == pageRows {
		c.More++
		return
	}
	c.List = append(c.List, one)
}

func (g *Gateway) page(now time.Time, refresh bool) page {
	cfg := g.state.Load().cfg
	p := page{
		Version: g.version, File: cfg.Path, Hash: cfg.Hash, Refresh: refresh, Secrets: g.statusSecrets(),
		Inflight: g.inflight.Used(), MaxInflight: int64(cfg.Server.MaxInflightBytes),
		Cardinality: g.cardinality(guard.ReportOptions{Top: 5}),
	}
	for _, e := range g.statusEnvironments() {
		p.Environments = append(p.Environments, pageEnvironment{environmentStatus: e})
	}
	find := func(name string) *pageEnvironment {
		for i := range p.Environments {
			if p.Environments[i].Name == name {
				return &p.Environments[i]
			}
		}
		return &pageEnvironment{} // a reload has just taken it away
	}
	for _, s := range p.Cardinality.Spaces {
		e := find(s.Environment)
		if s.Active+s.NewSeries+s.RefusedSeries > 0 {
			e.Series = append(e.Series, s)
		}
		for _, r := range s.Refusals {
			e.Refusals.add(pageRefusal{s.Signal, r})
		}
	}
	for _, c := range p.Cardinality.Collisions {
		find(c.Environment).Collisions.add(c)
	}
	limits := g.limits(now)
	slices.SortStableFunc(limits, fullestFirst)
	for _, l := range limits {
		find(l.Environment).Limits.add(l)
	}
	for _, r := range g.ruleDrops() {
		find(r.environment).Rules.add(r.pageRule)
	}
	return p
}

// fullestFirst puts limits that are used most before those that are used less, and those that cannot tell last.
func fullestFirst(a, b limitStatus) int {
	used := func(l limitStatus) float64 {
		if l.Used == nil {
			return -1
		}
		return *l.Used
	}
	switch x, y := used(a), used(b); {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

type ruleDrop struct {
	environment string
	pageRule
}

// ruleDrops are the rules in force that drop, or have dropped, items: the busiest first.
func (g *Gateway) ruleDrops() (all []ruleDrop) {
	st := g.state.Load()
	g.reduce.RuleDrops(func(environment, signal, rule string, items int64) {
		e := st.environments[environment]
		if e == nil || items == 0 {
			return
		}
		d := ruleDrop{environment, pageRule{Key: ruleKey(signal, rule), Items: items}}
		for _, c := range e.clients { // the rules are the same for every client
			if p := c.policies[ingest.Signal(signal)]; p != nil && p.reduce != nil {
				d.Text = p.reduce.RuleText(rule)
			}
			break
		}
		all = append(all, d)
	})
	slices.SortFunc(all, func(a, b ruleDrop) int {
		if a.Items != b.Items {
			return int(min(1, max(-1, b.Items-a.Items)))
		}
		return strings.Compare(a.Key, b.Key)
	})
	return all
}

// ruleKey is where a rule stands below its environment: metrics.relabel_configs[0].
func ruleKey(signal, rule string) string {
	key := "relabel_configs"
	number, resource := strings.CutPrefix(rule, "resource_")
	if resource {
		key = "resource_" + key
	}
	return signal + "." + key + "[" + number + "]"
}

// grouped writes 1234567 as 1,234,567.
func grouped(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// sizeText writes bytes as people read them.
func sizeText(n int64) string {
	switch {
	case n >= 10<<20:
		return grouped(n>>20) + " MiB"
	case n >= 10<<10:
		return grouped(n>>10) + " KiB"
	}
	return grouped(n) + " B"
}

// percent writes a part of one; nothing where it is not known.
func percent(part *float64) string {
	if part == nil {
		return ""
	}
	return strconv.FormatFloat(*part*100, 'f', 0, 64) + " %"
}
