package reduce

import (
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// Series that are lent in steps are zeroed, keep what was written into those before, and are booked once each.
func TestLend(t *testing.T) {
	r := newRig(t, Options{})
	p := r.metrics("")
	for round, steps := range [][]int{{3, 5, 100}, {1, 1, 200}, {150}, {0, 400}} {
		booked := 0
		push := p.Begin(r.now, Plain, func(n int) *fault.Error { booked += n; return nil })
		var ss []ingest.Series
		for _, n := range steps {
			before := len(ss)
			var err *fault.Error
			if ss, err = push.Reducer.Room(ss, n); err != nil || len(ss) != before+n {
				t.Fatalf("round %d: %d series after %d and %d more: %v", round, len(ss), before, n, err)
			}
			for i := range ss {
				if i < before && ss[i].Items != int32(i+1) || i >= before && ss[i] != (ingest.Series{}) {
					t.Errorf("round %d: series %d of %d and %d more is %+v", round, i, before, n, ss[i])
				}
				ss[i].Items = int32(i + 1)
			}
		}
		if want := len(ss) * seriesBytes; booked != want {
			t.Errorf("round %d: booked %d bytes for %d series, want %d", round, booked, len(ss), want)
		}
		push.Close()
	}
}
