package reduce

import (
	"fmt"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// TestTags: all policies share one memory of keys by bytes, in which the same bytes mean the same only to some of them. The
// labels of a remote_write series may be the very bytes of an exponential histogram's attributes, and what is remembered of
// those is not a whole key.
func TestTags(t *testing.T) {
	r := newRig(t, Options{})
	bytes := []byte("\x0a\x08\x0a\x01a\x12\x03\x0a\x01b")
	taken := map[labels.Key]string{}
	for _, environment := range []string{"prod", "dev"} {
		for _, signal := range []ingest.Signal{ingest.Metrics, ingest.Logs, ingest.Traces} {
			for _, stamps := range [][]labels.Label{nil, {{Name: "a", Value: "b"}}, {{Name: "a", Value: "c"}}, {{Name: "ab", Value: "c"}}} {
				s := Settings{Environment: environment, Signal: signal, Stamps: stamps}
				for v := range views {
					name := fmt.Sprint(environment, signal, stamps, v)
					s.Client, s.Rules, s.Exempt = "one", rules(t, dropPod), false
					one := r.Policy(s).hashers[v].Tag(bytes)
					if of := taken[one]; of != "" {
						t.Errorf("%s has the tags of %s", name, of)
					}
					taken[one] = name
					s.Client, s.Rules, s.Exempt = "other", nil, true
					if r.Policy(s).hashers[v].Tag(bytes) != one {
						t.Errorf("%s: what a client sends is not known of another's, or under other rules", name)
					}
				}
			}
		}
	}
}

// TestWhatIsRememberedOfKeys goes with time, and is no series: neither full nor empty memory changes what is said of one.
func TestWhatIsRememberedOfKeys(t *testing.T) {
	r := newRig(t, Options{MaxSeries: 1000})
	p := r.metrics(dropPod)
	_, before := r.Entries()
	most, known := 0, 0
	for range 3 {
		for i := range 5000 {
			push := p.Begin(r.now, Plain, nil)
			raw := fmt.Append(nil, "series ", i)
			tag, want := push.Reducer.Keys.Tag(raw), labels.Key{Hi: uint64(i), Lo: 1}
			var out [1]labels.Recalled
			if push.Reducer.Keys.Recall([]labels.Key{tag}, out[:]); out[0].Labels < 0 {
				push.Reducer.Keys.Learn(tag, want, 7)
			} else if known++; out[0] != (labels.Recalled{Key: want, Labels: 7}) {
				t.Fatalf("series %d is remembered as %+v", i, out[0])
			}
			push.Close()
		}
		_, bytes := r.Entries()
		most = max(most, bytes-before)
		p = r.metrics("[]") // a reload takes nothing out of it
	}
	if known != 2*1022 {
		t.Errorf("%d were known in three rounds of 5000 in a memory of two pages, want 2044", known)
	}
	if most > 60<<10 {
		t.Errorf("1000 series may be remembered, which takes %d bytes", most)
	}
	r.wait(20 * time.Minute)
	if _, after := r.Entries(); after > before {
		t.Errorf("%d bytes are kept after 20 minutes, %d before", after, before)
	}
}
