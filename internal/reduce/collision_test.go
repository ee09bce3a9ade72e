package reduce

import (
	"strings"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

const dropPod = `[{action: labeldrop, regex: pod}]`

func reject(s *Settings) { s.RejectCollisions = true }

func TestHandOver(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.want(p, []sent{at("m,pod=a", 0)}, "m")
	r.want(p, []sent{at("m,pod=a", 15)}, "m")
	// a stops, b starts: a rolling restart.
	r.want(p, []sent{at("m,pod=b", 20)}, "m")
	// A sample of a that was on its way is no overlap: it is older than b's first.
	r.want(p, []sent{at("m,pod=a", 19)}, "m")
	g := r.want(p, []sent{ends("m,pod=a")}, "m no marker")
	if len(g.outcome.Dropped) != 1 || g.outcome.Dropped[0] != (ingest.Refusal{Reason: ingest.ReasonSuperseded, Items: 1}) {
		t.Errorf("dropped %v, want 1 superseded", g.outcome.Dropped)
	}
	r.want(p, []sent{at("m,pod=b", 35)}, "m")
	// b ends by its own marker, and a comes back: it begins anew.
	r.want(p, []sent{ends("m,pod=b")}, "m")
	r.want(p, []sent{at("m,pod=a", 50)}, "m")
	if got := r.Collisions(); len(got) != 0 {
		t.Errorf("collisions %+v, want none", got)
	}
}

// TestSupersededInAnotherRound: another metric of the push is suspended, so that all is judged once more. The marker that came
// too late stays here all the same.
func TestSupersededInAnotherRound(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.want(p, []sent{at("m,pod=a", 0)}, "m")
	r.want(p, []sent{at("m,pod=b", 20)}, "m")
	r.want(p, []sent{ends("m,pod=a"), at("n,pod=a", 40, 55), at("n,pod=b", 45)}, "m no marker", "n,pod=a", "n,pod=b")
}

func TestHandOverAfterSilence(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.want(p, []sent{at("m,pod=a", 0)}, "m")
	r.want(p, []sent{at("m,pod=b", 15)}, "m")
	// OTLP and many others send no markers: after the lookback what comes again is a new life.
	r.want(p, []sent{at("m,pod=a", 316)}, "m")
	r.want(p, []sent{at("m,pod=a", 331)}, "m")
	if got := r.Collisions(); len(got) != 0 {
		t.Errorf("collisions %+v, want none", got)
	}
}

func TestSuspend(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	// Two live pods in one scrape: none of the metric leaves reduced, not even what came first in the push.
	r.want(p, []sent{at("m_total,pod=a", 15), at("m_total,pod=b", 15), at("other,pod=a", 15)}, "m_total,pod=a", "m_total,pod=b", "other")
	r.want(p, []sent{at("m_total,pod=a", 30), at("m_total,pod=c", 30), at("other,pod=a", 30)}, "m_total,pod=a", "m_total,pod=c", "other")
	c := r.Collisions()
	if len(c) != 1 || c[0].Metric != "m_total" || c[0].Policy != "suspend" || c[0].Rule != 0 || c[0].Environment != "prod" ||
		len(c[0].Series) != 2 || len(c[0].Clients) != 1 || !strings.Contains(c[0].RuleText, "labeldrop") {
		t.Fatalf("collisions %+v", c)
	}
	if log := r.log.String(); !strings.Contains(log, "m_total") || !strings.Contains(log, "labeldrop") || strings.Count(log, "\n") != 1 {
		t.Errorf("log %q, want one line that names the metric and the rule", log)
	}
}

func TestSuspendLaterPush(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	r.want(p, []sent{at("m,pod=a", 0)}, "m")
	r.want(p, []sent{at("m,pod=b", 7)}, "m") // could be a hand-over
	r.want(p, []sent{at("m,pod=a", 15)}, "m,pod=a")
	r.want(p, []sent{at("m,pod=b", 22)}, "m,pod=b")
	c := r.Collisions()
	if len(c) != 1 || len(c[0].Series) != 2 || c[0].Rule != 0 {
		t.Fatalf("collisions %+v: the other series came later and is to be shown", c)
	}
}

func TestSuspendFamily(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	g := []sent{at("h_count,pod=a", 0), at("h_bucket,pod=a,le=1", 0), at("h_sum,pod=a", 0), at("h_created,pod=a", 0), at("h_count,pod=b", 0)}
	r.want(p, g, "h_count,pod=a", "h_bucket,le=1,pod=a", "h_sum,pod=a", "h_created,pod=a", "h_count,pod=b")
}

func TestSuspensionIsLifted(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod)
	both := func(s int64) []sent { return []sent{at("m,pod=a", s), at("m,pod=b", s)} }
	r.want(p, both(0), "m,pod=a", "m,pod=b")
	for i := range int64(30) {
		r.wait(time.Minute)
		r.want(p, both(60*(i+1)), "m,pod=a", "m,pod=b")
	}
	// b is gone. For 20 minutes it might come back.
	for i := range int64(20) {
		r.wait(time.Minute)
		r.want(p, []sent{at("m,pod=a", 60*(i+31))}, "m,pod=a")
	}
	r.wait(2 * time.Minute)
	r.want(p, []sent{at("m,pod=a", 60*53)}, "m")
	r.wait(time.Minute)
	r.want(p, []sent{at("m,pod=a", 60*54)}, "m")
	if c := r.Collisions(); len(c) != 0 {
		t.Errorf("collisions %+v, want none", c)
	}
	// And begins again with the next overlap.
	r.want(p, both(60*55), "m,pod=a", "m,pod=b")
}

func TestSuspensionAndReload(t *testing.T) {
	f := func(first, next string, lifted bool, change ...func(*Settings)) {
		t.Helper()
		r := newRig(t, Options{})
		p := r.metrics(first)
		r.push(p, at("m,pod=a", 0), at("m,pod=b", 0))
		if c := r.Collisions(); len(c) != 1 {
			t.Fatalf("collisions %+v, want one", c)
		}
		r.metrics(next, change...)
		if c := r.Collisions(); (len(c) == 0) != lifted {
			t.Errorf("rules %s, then %s: collisions %+v, want lifted=%v", first, next, c, lifted)
		}
	}
	const keep = `{action: keep, source_labels: [__name__], regex: .+}`
	const drop = `{action: labeldrop, regex: pod}`
	const other = `{action: labeldrop, regex: zone}`
	f("["+drop+"]", "["+drop+"]", false)
	f("["+drop+"]", "["+drop+","+other+"]", false)
	f("["+drop+"]", "["+other+"]", true)
	f("["+drop+"]", "[]", true)
	f("["+keep+","+drop+"]", "["+drop+"]", true)
	f("["+keep+","+drop+","+other+"]", "["+keep+","+drop+"]", false)
	f("["+drop+"]", "["+drop+"]", true, reject)
}

func TestReject(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod, reject)
	g := r.want(p, []sent{at("m,pod=a", 0), at("m,pod=b", 0), at("n,pod=a", 0)}, "m", "refused", "n")
	if len(g.outcome.Refused) != 1 || g.outcome.Refused[0].Reason != ingest.ReasonCollision {
		t.Fatalf("refused %+v", g.outcome.Refused)
	}
	for _, word := range []string{"environment prod, client app", `"m"`, "environments.prod.metrics.relabel_configs", "environments.prod.metrics.on_collision=reject", "/api/v1/status/cardinality"} {
		if !strings.Contains(g.outcome.Refused[0].Text, word) {
			t.Errorf("the refusal %q does not name %s", g.outcome.Refused[0].Text, word)
		}
	}
	// The second stays refused while the first lives, also where its samples come between.
	r.want(p, []sent{at("m,pod=a", 15)}, "m")
	r.want(p, []sent{at("m,pod=b", 22)}, "refused")
	r.want(p, []sent{at("m,pod=a", 30)}, "m")
	r.want(p, []sent{at("m,pod=b", 37)}, "refused")
	// One that seemed to take over is refused as soon as the first goes on.
	r.want(p, []sent{at("o,pod=a", 0)}, "o")
	r.want(p, []sent{at("o,pod=b", 7)}, "o")
	r.want(p, []sent{at("o,pod=a", 15)}, "o")
	r.want(p, []sent{at("o,pod=b", 22)}, "refused")
	r.want(p, []sent{at("o,pod=a", 30)}, "o")
	r.want(p, []sent{at("o,pod=b", 37)}, "refused")
	// Until the first ends.
	r.want(p, []sent{ends("m,pod=a")}, "m")
	r.want(p, []sent{at("m,pod=b", 52)}, "m")
	if c := r.Collisions(); len(c) != 2 || c[0].Policy != "reject" {
		t.Errorf("collisions %+v", c)
	}
}

func TestCollisionWithSeriesThatNoRuleChanges(t *testing.T) {
	for _, first := range []string{"m", "m,pod=a"} {
		r := newRig(t, Options{})
		p := r.metrics(dropPod, reject)
		second := map[string]string{"m": "m,pod=a", "m,pod=a": "m"}[first]
		r.want(p, []sent{at(first, 0)}, "m")
		r.want(p, []sent{at(first, 15)}, "m")
		r.want(p, []sent{at(second, 15)}, "refused")
		r.want(p, []sent{at(first, 30)}, "m")
		r.want(p, []sent{at(second, 31)}, "refused")
	}
	for _, first := range []string{"m", "m,pod=a"} {
		r := newRig(t, Options{})
		p := r.metrics(dropPod)
		second := map[string]string{"m": "m,pod=a", "m,pod=a": "m"}[first]
		r.want(p, []sent{at(first, 0)}, "m")
		r.want(p, []sent{at(second, 0)}, second)
		r.want(p, []sent{at(first, 15)}, first)
		r.want(p, []sent{at(second, 15)}, second)
	}
}

func TestStampThatOverwrites(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics("[]", func(s *Settings) { s.Stamps = []labels.Label{{Name: "env", Value: "prod"}} })
	// Same value, or none: the same series, and no collision.
	r.want(p, []sent{at("m", 0)}, "env=prod,m")
	r.want(p, []sent{at("m,env=prod", 15)}, "env=prod,m")
	// Another value: another series, which becomes that one.
	g := r.want(p, []sent{at("m,env=dev", 15)}, "refused")
	if text := g.outcome.Refused[0].Text; !strings.Contains(text, "stamped") || strings.Contains(text, "on_collision") {
		t.Errorf("the refusal %q is to speak of stamps, and not of on_collision, which has no say", text)
	}
	r.want(p, []sent{at("n,env=dev", 15), at("n,env=test", 15)}, "env=prod,n", "refused")
	r.want(p, []sent{at("n,env=dev", 30), at("n,env=test", 30)}, "env=prod,n", "refused")
	r.want(p, []sent{at("o,env=dev", 15), at("o", 15)}, "env=prod,o", "refused")
}

func TestStampAndRuleTogether(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics(dropPod, func(s *Settings) { s.Stamps = []labels.Label{{Name: "env", Value: "prod"}} })
	// The rule is held back, and the two that the stamp makes one still do not both leave.
	r.want(p, []sent{at("m,env=dev,pod=a", 0), at("m,env=test,pod=a", 0), at("m,pod=b", 0)}, "env=prod,m,pod=a", "refused", "env=prod,m,pod=b")
	r.want(p, []sent{at("m,env=dev,pod=a", 15), at("m,env=test,pod=a", 15), at("m,pod=b", 15)}, "env=prod,m,pod=a", "refused", "env=prod,m,pod=b")
}

func TestStreamsMerge(t *testing.T) {
	r := newRig(t, Options{})
	p := r.Policy(Settings{Environment: "prod", Client: "app", Signal: ingest.Logs, Rules: rules(t, dropPod)})
	r.Adopt([]*Policy{p})
	r.want(p, []sent{at("app=x,pod=a"), at("app=x,pod=b")}, "app=x", "app=x")
	r.want(p, []sent{at("app=x,pod=a"), at("app=x,pod=b")}, "app=x", "app=x")
}
