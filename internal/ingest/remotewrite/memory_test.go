package remotewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/prometheus/prometheus/prompb"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/reducetest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// uncharged is what a push may take without booking it: its batch, its stamps, errors, what does not grow.
const uncharged = 16 << 10

// books are the account of one push. The failAt-th taking fails; 0: none does.
type books struct{ booked, takes, failAt, rooms int }

func (b *books) charge(n int) *fault.Error {
	if b.takes++; b.takes == b.failAt {
		return fault.New(fault.Overloaded, "no room for %d bytes", n)
	}
	b.booked += n
	return nil
}

// through sends raw through the door into a buffer as the road lends it, and returns what that allocated besides. Garbage
// counts: the collector may come too late. Without say nothing is reduced.
func through(p *ingest.Protocol, raw []byte, e ingest.Edit, b *books, say func(*ingest.Series)) (allocated int, err error) {
	e.Charge = b.charge
	r := b.reducer(e.Stamps, say)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c := ingest.Content{Charge: b.charge}
	if say != nil {
		c.Reducer = r
	}
	batch, err := p.Decode(raw, c)
	if err != nil {
		return 0, err
	}
	if say != nil {
		if err := batch.Reduce(r); err != nil {
			return 0, err
		}
	}
	dst := make([]byte, 0, batch.Bound(e))
	_, err = batch.Encode(dst, e)
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) - cap(dst), err
}

// reducer is one that looks at every series before say judges it.
func (b *books) reducer(stamps []labels.Label, say func(*ingest.Series)) *ingest.Reducer {
	set := labels.Set{All: make([]labels.Label, 0, 2*maxLabels), Keys: make([]labels.Key, 0, 2*maxLabels)}
	return &ingest.Reducer{
		Stamps: stamps,
		Charge: b.charge,
		Keys:   labels.NewHasher(labels.NewSeed(), labels.Key{}, stamps),
		Room: func(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
			size := n * int(unsafe.Sizeof(ingest.Series{}))
			if err := b.charge(size); err != nil {
				return nil, err
			}
			b.rooms += size
			return reducetest.Lend(ss, n), nil
		},
		Judge: func(ss []ingest.Series, view func(int, *labels.Set)) {
			for i := range ss {
				set.Reset()
				view(i, &set)
				say(&ss[i])
			}
		},
	}
}

// bring gives every series two labels more.
func bring() func(*ingest.Series) {
	c := &labels.Change{Keep: make([]uint64, 1+maxLabels/32), Add: []labels.Label{{Name: "a_new", Value: "1"}, {Name: "z_new", Value: strings.Repeat("x", 100)}}}
	for i := range c.Keep {
		c.Keep[i] = 1<<64 - 1
	}
	return func(s *ingest.Series) { s.Change = c }
}

// greedy is a push that is made to take more memory than it brings.
type greedy struct {
	name string
	door *ingest.Protocol
	raw  []byte
	most int // bytes that it may book for each that it brings, and 64 KiB
}

func greedyPushes() []greedy {
	const large = 1 << 17
	v1 := func(n int, all func(i int) []prompb.Label, metadata func(i int) *prompb.MetricMetadata) []byte {
		var b []byte
		for i := range n {
			s := prompb.TimeSeries{Labels: all(i), Samples: []prompb.Sample{{Value: 1, Timestamp: 1}}}
			b = wire.AppendBytes(b, v1Series, must(s.Marshal()))
			if metadata != nil {
				b = wire.AppendBytes(b, v1Metadata, must(metadata(i).Marshal()))
			}
		}
		return b
	}
	up := func(int) []prompb.Label { return []prompb.Label{{Name: "__name__", Value: "up"}} }
	news := func(i int) []prompb.Label {
		return []prompb.Label{{Name: "__name__", Value: fmt.Sprintf("metric_%d_total", i)}}
	}
	one := v1(1, up, nil)

	// Symbols of nothing, and one series that says something of its metric.
	empty := requestV2(append([]string{"", "__name__", "up"}, make([]string, large/2)...),
		wire.AppendBytes(seriesV2([]byte{2, 2, 1, 2}, oneSample...), v2Metadata, wire.AppendVarint(nil, metadataType, 1)))
	var names []string
	var families [][]byte
	for i := range large / 32 {
		names = append(names, fmt.Sprint("m", i))
		m := wire.AppendVarint(wire.AppendVarint(nil, metadataType, 2), v2MetadataHelp, uint64(2+i))
		families = append(families, wire.AppendBytes(seriesV2(binary.AppendUvarint([]byte{1}, uint64(2+i)), oneSample...), v2Metadata, m))
	}
	wide := strings.Repeat("\x0a\x00", maxLabels)
	return []greedy{
		{"metadata of nothing", V1, append(one[:len(one):len(one)], strings.Repeat("\x1a\x00", large/2)...), 3},
		{"metadata of many metrics", V1, v1(large/64, news, func(i int) *prompb.MetricMetadata {
			return &prompb.MetricMetadata{MetricFamilyName: fmt.Sprintf("metric_%d", i), Type: 1, Help: fmt.Sprint("help", i)}
		}), 8},
		{"metadata of short names", V1, v1(large/16, up, func(i int) *prompb.MetricMetadata {
			return &prompb.MetricMetadata{MetricFamilyName: fmt.Sprintf("%x", i)}
		}), 8},
		{"labels without end", V1, v1(large/64, news, nil), 4},
		{"long labels", V1, v1(64, func(i int) []prompb.Label {
			return []prompb.Label{{Name: "z", Value: fmt.Sprint(i) + strings.Repeat("x", large/64)}, {Name: "a", Value: "b"}}
		}, nil), 4},
		{"a wide series", V1, wire.AppendBytes(nil, v1Series, []byte(wide+"\x12\x00")), 200},
		{"a wide exemplar", V1, wire.AppendBytes(nil, v1Series, wire.AppendString(nil, v1Exemplars, wide)), 300},
		{"symbols of nothing", V2, empty, 5},
		{"metadata of many metrics, 2.0", V2, requestV2(append([]string{"", "__name__"}, names...), families...), 10},
		{"a wide series, 2.0", V2, requestV2([]string{"", "a"}, seriesV2([]byte(strings.Repeat("\x01\x01", maxLabels)), oneSample...)), 200},
		{"a wide exemplar, 2.0", V2, requestV2([]string{"", "a"}, wire.AppendBytes(nil, v2Exemplars, wire.AppendBytes(nil, 1, make([]byte, 2*maxLabels)))), 200},
		{"refs to nowhere in a large table", V2, requestV2(append([]string{"", "__name__", "up"}, make([]string, large/2)...), seriesV2([]byte{1, 2, 3}, oneSample...)), 5},
	}
}

// TestMemoryIsBooked: a push allocates no more than it has booked, whatever it looks like.
func TestMemoryIsBooked(t *testing.T) {
	const reduced = 2 // stamps, and labels that come
	for _, g := range greedyPushes() {
		for _, form := range g.door.Forms {
			for i, stamps := range stampSets[:reduced+1] {
				var say func(*ingest.Series)
				var b books
				if i == reduced {
					say = bring()
				}
				allocated, err := through(g.door, g.raw, ingest.Edit{Form: form, Stamps: stamps}, &b, say)
				b.booked -= b.rooms
				allocated -= b.rooms
				if err != nil {
					t.Errorf("%s as %s: %v", g.name, form.Name, err)
				}
				if allocated > b.booked+b.booked/8+uncharged { // an eighth: the allocator's sizes
					t.Errorf("%s as %s, %d stamps: %d bytes of push allocated %d and booked %d", g.name, form.Name, len(stamps), len(g.raw), allocated, b.booked)
				}
				if most := g.most*len(g.raw) + 64<<10; b.booked > most {
					t.Errorf("%s as %s, %d stamps: %d bytes of push booked %d, over %d", g.name, form.Name, len(stamps), len(g.raw), b.booked, most)
				}
			}
		}
	}
}

// TestNoRoom: where a taking fails, in Reduce and Bound too, the push ends as Overloaded, which senders repeat, and takes
// nothing more.
func TestNoRoom(t *testing.T) {
	for _, g := range greedyPushes() {
		for _, form := range g.door.Forms {
			for _, say := range []func(*ingest.Series){nil, bring()} {
				e := ingest.Edit{Form: form, Stamps: stampSets[1]}
				var free books
				_, _ = through(g.door, g.raw, e, &free, say)
				for n := 1; n <= free.takes; n++ {
					b := books{failAt: n}
					allocated, err := through(g.door, g.raw, e, &b, say)
					var f *fault.Error
					if !errors.As(err, &f) || f.HTTPStatus() != http.StatusServiceUnavailable {
						t.Errorf("%s as %s: taking %d of %d failed: %v, want 503", g.name, form.Name, n, free.takes, err)
					}
					if b.takes > n || allocated > b.booked+b.booked/8+uncharged {
						t.Errorf("%s as %s: taking %d of %d failed: %d takings, %d bytes allocated, %d booked", g.name, form.Name, n, free.takes, b.takes, allocated, b.booked)
					}
				}
			}
		}
	}
}

// TestDecodeBooksNothing: reading a push builds nothing that grows with it, also where something is wrong with it.
func TestDecodeBooksNothing(t *testing.T) {
	for _, g := range greedyPushes() {
		var b books
		c := ingest.Content{Charge: b.charge}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := g.door.Decode(g.raw, c)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err != nil || b.takes > 0 || n > 4<<10 {
			t.Errorf("%s: %d takings, %d bytes allocated, %v", g.name, b.takes, n, err)
		}
	}
}

// TestSeriesGrowOnce: room for series is asked for in steps while it grows in place; what does not grows once.
func TestSeriesGrowOnce(t *testing.T) {
	const n = 1000
	for p, raw := range map[*ingest.Protocol][]byte{V1: k8sV1(n), V2: k8sV2(n)} {
		for _, lent := range []int{0, 1, 100, n - 1, n, 2 * n} {
			room := make([]ingest.Series, lent)
			asked, grown := 0, 0
			var b books
			r := b.reducer(nil, func(*ingest.Series) {})
			r.Room = func(ss []ingest.Series, n int) ([]ingest.Series, *fault.Error) {
				asked += n
				all := len(ss) + n
				if all > len(room) {
					room = append(make([]ingest.Series, 0, all), ss...)[:all]
					grown++
				}
				return room[:all], nil
			}
			batch, err := p.Decode(raw, ingest.Content{Reducer: r})
			if err != nil || len(judged(batch)) != n || asked != n || grown > 2 || grown > 0 && lent >= n {
				t.Errorf("%s: %d series lent, asked for %d, grown %d times, %d of %d filled: %v", p.Name, lent, asked, grown, len(judged(batch)), n, err)
			}
			if n*indexEntry > b.booked {
				t.Errorf("%s: booked %d bytes for the index of %d", p.Name, b.booked, n)
			}
		}
	}
}
