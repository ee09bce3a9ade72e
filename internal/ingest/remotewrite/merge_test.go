package remotewrite

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// someLabels are labels of a series, sorted: most of a fixed list, so that neighbours are alike but not the same.
func someLabels(r *rand.Rand) (ls []prompb.Label) {
	for i := range 16 {
		if i == 0 || r.IntN(8) > 0 {
			ls = append(ls, prompb.Label{Name: fmt.Sprintf("label_%c", 'a'+i), Value: fmt.Sprint(r.IntN(3))})
		}
	}
	if r.IntN(4) == 0 { // more than a word of Keep has bits
		for i := range 70 {
			ls = append(ls, prompb.Label{Name: fmt.Sprintf("many_%02d", i), Value: "1"})
		}
	}
	if r.IntN(20) == 0 {
		ls[len(ls)-1].Value = string(bytes.Repeat([]byte("x"), 200))
	}
	return ls
}

// someChange keeps the first of the labels in set, some of the others, and brings some that it does not keep.
func someChange(r *rand.Rand, set []labels.Label) *labels.Change {
	c := &labels.Change{Keep: make([]uint64, (len(set)+63)/64)}
	c.Keep[0] = 1
	gap := r.IntN(4) == 0 // long runs go
	for i, l := range set {
		switch {
		case i == 0:
		case gap && i > 40 && i < 70:
		case r.IntN(5) > 0:
			c.Keep[i/64] |= 1 << (i % 64)
		case r.IntN(2) == 0:
			c.Add = append(c.Add, labels.Label{Name: l.Name, Value: "new"})
		}
	}
	for _, name := range []string{"a", "label_c_and_more", "label_zz", "zone"} {
		if r.IntN(3) == 0 {
			c.Add = append(c.Add, labels.Label{Name: name, Value: fmt.Sprint(r.IntN(2))})
		}
	}
	slices.SortFunc(c.Add, func(a, b labels.Label) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return c
}

// TestSeats: series that came sorted leave in the very bytes in which they would leave if nobody knew that they are, wherever
// stamps and labels that come stand in the series before them.
func TestSeats(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 7))
	stampSets := [][]labels.Label{nil, {{Name: "label_e", Value: "1"}}, {{Name: "label_dd", Value: "stamp"}, {Name: "label_q", Value: "2"}, {Name: "zz", Value: "3"}}}
	for round := range 200 {
		all := make([]prompb.TimeSeries, 1+r.IntN(20))
		for i := range all {
			all[i] = prompb.TimeSeries{Labels: someLabels(r), Samples: []prompb.Sample{{Value: 1, Timestamp: 1_700_000_000_000}}}
		}
		stamps := stampSets[round%len(stampSets)]
		for _, p := range []*ingest.Protocol{V1, V2} {
			raw := v1Of(all)
			if p == V2 {
				raw = symbolized(all)
			}
			var changes []*labels.Change // as they were decided when the series were first shown
			reducer := &ingest.Reducer{
				Stamps: stamps,
				Keys:   labels.NewHasher(labels.NewSeed(), labels.Key{}, stamps),
				Room:   func(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) { return reducetest.Lend(ss, n), nil },
				Judge: func(ss []ingest.Series, view func(int, *labels.Set)) {
					for i := range ss {
						if len(changes) == i {
							var set labels.Set
							view(i, &set)
							changes = append(changes, someChange(r, set.All))
							if r.IntN(4) == 0 {
								changes[i] = nil
							}
						}
						ss[i].Change = changes[i]
					}
				},
			}
			encode := func(sorted bool) []byte {
				batch, err := p.Decode(raw, ingest.Content{Reducer: reducer})
				if err == nil {
					err = batch.Reduce(reducer)
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range judged(batch) {
					s := &judged(batch)[i]
					if !s.Sorted {
						t.Fatalf("series %d does not count as sorted", i)
					}
					s.Sorted = sorted
				}
				e := ingest.Edit{Form: p.Forms[0], Stamps: stamps}
				res, err := batch.Encode(make([]byte, 0, batch.Bound(e)), e)
				if err != nil {
					t.Fatal(err)
				}
				if res.Unchanged {
					return raw
				}
				return res.Body
			}
			fast := encode(true)
			if slow := encode(false); !bytes.Equal(fast, slow) {
				t.Fatalf("round %d, %s, %d stamps: as sorted series\n%q\nas others\n%q", round, p.Name, len(stamps), fast, slow)
			}
		}
	}
}

func judged(b ingest.Batch) []ingest.Series {
	if b, ok := b.(*batchV1); ok {
		return b.ss
	}
	return b.(*batchV2).ss
}
