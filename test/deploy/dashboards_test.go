package deploy_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// scraped are the labels that whoever scrapes the gateway adds.
var scraped = []string{"cluster", "namespace", "job", "instance"}

// dashboard is what these tests know of Grafana's model.
type dashboard struct {
	UID, Title, Description string
	ID                      *int
	Templating              struct{ List []variable }
	Annotations             struct{ List []query }
	Panels                  []panel
}

type variable struct {
	Name, Type, Definition string
	Query                  any
	AllValue               string
	Datasource             any
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               any
	Targets                  []query
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Options                  struct{ Content string }
	Panels                   []panel
}

type query struct {
	Name, Expr, RefID, LegendFormat string
	BuiltIn                         int
	Instant                         bool
	Datasource                      any
}

// dashboards are all of deploy/grafana, by file.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	all := make(map[string]dashboard)
	for _, path := range must(filepath.Glob(filepath.Join(root, "deploy", "grafana", "*.json"))) {
		name := filepath.Base(path)
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, "deploy/grafana/"+name)), &d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all[name] = d
	}
	if len(all) < 2 {
		t.Fatalf("%d dashboards found, want operator.json and cost.json at least", len(all))
	}
	return all
}

// instant is expr as it would be asked with All chosen everywhere and a window of five minutes.
func instant(expr string) string {
	expr = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m").Replace(expr)
	return regexp.MustCompile(`\$\{?\w+\}?`).ReplaceAllString(expr, ".*")
}

// checker holds expressions to what a gateway exposes.
type checker struct {
	t      *testing.T
	names  map[string]map[string]bool
	parser parser.Parser
}

func newChecker(t *testing.T) checker {
	return checker{t, exposed(t), parser.NewParser(parser.Options{})}
}

// check reports what is wrong with an expression: it does not parse, or it names a metric or a label that no gateway has.
func (c checker) check(expr string) (faults []string) {
	tree, err := c.parser.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	known := make(map[string]bool) // labels of all metrics that take part
	for _, l := range scraped {
		known[l] = true
	}
	var grouped []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			faults = append(faults, c.selector(n, known)...)
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
			if s, ok := n.Param.(*parser.StringLiteral); ok { // count_values makes one
				known[s.Val] = true
			}
		case *parser.BinaryExpr:
			if m := n.VectorMatching; m != nil {
				grouped = append(append(grouped, m.MatchingLabels...), m.Include...)
			}
		}
		return nil
	})
	for _, l := range grouped {
		if !known[l] {
			faults = append(faults, fmt.Sprintf("none of its metrics has the label %s", l))
		}
	}
	return faults
}

func (c checker) selector(s *parser.VectorSelector, known map[string]bool) (faults []string) {
	have := c.names[s.Name]
	if have == nil {
		return []string{fmt.Sprintf("the gateway exposes no metric %q", s.Name)}
	}
	for l := range have {
		known[l] = true
	}
	for _, m := range s.LabelMatchers {
		if m.Name != labels.MetricName && !have[m.Name] && !slices.Contains(scraped, m.Name) {
			faults = append(faults, fmt.Sprintf("%s has no label %s", s.Name, m.Name))
		}
	}
	return faults
}

// TestChecker: what holds dashboards and alerts to the gateway would notice.
func TestChecker(t *testing.T) {
	c := newChecker(t)
	f := func(expr, fault string) {
		t.Helper()
		got := strings.Join(c.check(expr), "; ")
		if fault == "" && got != "" || !strings.Contains(got, fault) {
			t.Errorf("%s: %q, want %q", expr, got, fault)
		}
	}
	f(`sum by (job, code) (rate(gateway_pushes_total{environment="prod", instance="a"}[5m]))`, "")
	f(`count by (job) (count_values by (job, hash) ("hash", gateway_config_hash))`, "")
	f(`histogram_quantile(0.5, sum by (le) (rate(gateway_push_duration_seconds_bucket[5m])))`, "")
	f(`sum(`, "parse error")
	f(`gateway_pushes`, `no metric "gateway_pushes"`)
	f(`up`, `no metric "up"`)
	f(`gateway_inflight_bytes{environment="prod"}`, "gateway_inflight_bytes has no label environment")
	f(`sum by (signal) (gateway_pushes_total)`, "none of its metrics has the label signal")
	f(`gateway_pushes_total / on (door) gateway_auth_failures_total`, "")
	f(`gateway_pushes_total / on (rule) gateway_auth_failures_total`, "none of its metrics has the label rule")
	f(`gateway_pushes_total * on (job) group_left (version) gateway_inflight_bytes`, "none of its metrics has the label version")
}

// TestDashboardQueries: every question of every dashboard can be asked of a gateway.
func TestDashboardQueries(t *testing.T) {
	c := newChecker(t)
	variableQuery := regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			if p.Type != "row" && p.Type != "text" && len(p.Targets) == 0 {
				t.Errorf("%s, %s: no query", file, p.Title)
			}
			for _, q := range p.Targets {
				for _, fault := range c.check(instant(q.Expr)) {
					t.Errorf("%s, %s, %s: %s", file, p.Title, q.Expr, fault)
				}
				for _, l := range regexp.MustCompile(`{{\s*(\w+)\s*}}`).FindAllStringSubmatch(q.LegendFormat, -1) {
					if !strings.Contains(q.Expr, l[1]) && !slices.Contains(scraped, l[1]) {
						t.Errorf("%s, %s: the legend shows %s, which %s does not have", file, p.Title, l[1], q.Expr)
					}
				}
			}
		}
		for _, a := range d.Annotations.List {
			if a.BuiltIn == 0 {
				for _, fault := range c.check(instant(a.Expr)) {
					t.Errorf("%s, annotation %s: %s", file, a.Name, fault)
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "datasource" {
				continue
			}
			m := variableQuery.FindStringSubmatch(v.Definition)
			if m == nil {
				t.Errorf("%s: variable %s asks %q, want label_values(selector, label)", file, v.Name, v.Definition)
				continue
			}
			for _, fault := range c.check(fmt.Sprintf("count by (%s) (%s)", m[2], instant(m[1]))) {
				t.Errorf("%s, variable %s: %s", file, v.Name, fault)
			}
		}
	}
}

// TestDashboardForm: a dashboard can be loaded beside any other, into any Grafana, and says what it shows.
func TestDashboardForm(t *testing.T) {
	uids := make(map[string]string)
	for file, d := range dashboards(t) {
		if other := uids[d.UID]; other != "" || d.UID == "" || len(d.UID) > 40 {
			t.Errorf("%s has the uid %q, want one of its own of at most 40 letters (%s)", file, d.UID, other)
		}
		uids[d.UID] = file
		if d.ID != nil {
			t.Errorf("%s has the id %d of some Grafana's database", file, *d.ID)
		}
		if d.Title == "" || d.Description == "" {
			t.Errorf("%s has no title or no description", file)
		}
		if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Query != "prometheus" {
			t.Errorf("%s: its first variable is not the data source", file)
		}
		for _, v := range d.Templating.List[1:] {
			// An empty gateway has no values to choose from; All must still mean all.
			if v.AllValue != ".*" {
				t.Errorf("%s: with nothing to choose from, All of variable %s asks for %q, want .*", file, v.Name, v.AllValue)
			}
			chosen(t, file+", variable "+v.Name, v.Datasource)
		}
		for _, a := range d.Annotations.List {
			if a.BuiltIn == 0 {
				chosen(t, file+", annotation "+a.Name, a.Datasource)
			}
		}
		checkPanels(t, file, d.Panels)
	}
}

func checkPanels(t *testing.T, file string, panels []panel) {
	t.Helper()
	ids, titles := make(map[int]bool), make(map[string]bool)
	for i, p := range panels {
		where := fmt.Sprintf("%s, panel %d %q", file, p.ID, p.Title)
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("%s: another has its id or its title", where)
		}
		ids[p.ID], titles[p.Title] = true, true
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s: does not fit on the page: %+v", where, g)
		}
		for _, other := range panels[:i] {
			a, b := p.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies over %q", where, other.Title)
			}
		}
		if p.Type == "row" || p.Type == "text" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: has no title, description or unit", where)
		}
		chosen(t, where, p.Datasource)
		for _, q := range p.Targets {
			chosen(t, where, q.Datasource)
			// Of a range the last value is shown, however old: a gateway that fell silent hours ago would look well.
			if p.Type != "timeseries" && !q.Instant {
				t.Errorf("%s: shows one value, but does not ask for the one of now (instant)", where)
			}
			// Several clusters have gateways of the same job.
			if strings.Count(q.Expr, "$job") != strings.Count(q.Expr, `cluster=~"$cluster", job=~"$job"`) || !strings.Contains(q.Expr, "$cluster") {
				t.Errorf("%s: does not ask for the cluster and the job that are chosen: %s", where, q.Expr)
			}
		}
	}
}

// chosen fails unless the data source is the one that the reader has chosen.
func chosen(t *testing.T, where string, datasource any) {
	t.Helper()
	if m, ok := datasource.(map[string]any); !ok || m["type"] != "prometheus" || m["uid"] != "${datasource}" {
		t.Errorf("%s: its data source is %v, want the one that is chosen above", where, datasource)
	}
}

// TestActiveSeriesAreNotSummed: two replicas may both know a series.
func TestActiveSeriesAreNotSummed(t *testing.T) {
	c := newChecker(t)
	exprs := make(map[string]string)
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				exprs[file+", "+p.Title+", "+q.RefID] = instant(q.Expr)
			}
		}
	}
	for alert, r := range alerts(t) {
		exprs[alert] = r.Expr
	}
	for where, expr := range exprs {
		tree := must(c.parser.ParseExpr(expr))
		parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
			a, ok := n.(*parser.AggregateExpr)
			if ok && a.Op == parser.SUM && strings.Contains(a.Expr.String(), "gateway_active_series") && (a.Without || !slices.Contains(a.Grouping, "instance")) {
				t.Errorf("%s sums active series over replicas: %s", where, a)
			}
			return nil
		})
	}
}
