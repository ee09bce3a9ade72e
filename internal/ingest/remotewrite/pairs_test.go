package remotewrite

import (
	"strings"
	"testing"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// A symbol of a megabyte costs four bytes in each series that refers to it, and would cost a megabyte of hashing.
func TestSymbolsAreNotHashedAgainAndAgain(t *testing.T) {
	f := func(symbol, series int, names []uint32, want bool) {
		t.Helper()
		req := &writev2.Request{Symbols: []string{"", "a", "b", strings.Repeat("v", symbol)}}
		for i := range series {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
				LabelsRefs: []uint32{names[i%len(names)], 3}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1 << 40}},
			})
		}
		raw, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeV2(raw, ingest.Content{Reducer: newPreparer(t, nil).Reducer})
		if tooLarge := err != nil && fault.From(err).Kind == fault.TooLarge; tooLarge != want {
			t.Errorf("%d series, names %v: %v of a push that tells its Reducer, want too large: %v", series, names, err, want)
		}
		later, err := decodeV2(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		err = later.Reduce(newPreparer(t, nil).Reducer)
		if tooLarge := err != nil && fault.From(err).Kind == fault.TooLarge; tooLarge != want {
			t.Errorf("%d series, names %v: %v of a push that is reduced later, want too large: %v", series, names, err, want)
		}
	}
	f(1<<20, 200, []uint32{1}, false)     // hashed once
	f(1<<20, 10, []uint32{1, 2}, false)   // twenty megabytes are nothing
	f(1<<20, 200, []uint32{1, 2}, true)   // what is known of a symbol does not help here
	f(100, 20_000, []uint32{1, 2}, false) // as senders write them
}

// Two names of a megabyte that begin alike are compared in each series that has them, in eight bytes.
func TestNamesAreNotComparedAgainAndAgain(t *testing.T) {
	f := func(symbol, series int, want bool) {
		t.Helper()
		long := strings.Repeat("n", symbol)
		req := &writev2.Request{Symbols: []string{"", long + "a", long + "b", "v", "w"}}
		for range series {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: []uint32{1, 3, 2, 4}})
		}
		raw, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeV2(raw, ingest.Content{Reducer: newPreparer(t, nil).Reducer})
		if tooLarge := err != nil && fault.From(err).Kind == fault.TooLarge; tooLarge != want {
			t.Errorf("%d series with names of %d bytes: %v, want too large: %v", series, symbol, err, want)
		}
	}
	f(1<<20, 10, false)
	f(1<<20, 200, true)
	f(100, 20_000, false)
}

// The same where nobody asks about series, and stamps have to find their places.
func TestNamesAreNotSortedAgainAndAgain(t *testing.T) {
	f := func(symbol, series int, want bool) {
		t.Helper()
		long := strings.Repeat("n", symbol)
		req := &writev2.Request{Symbols: []string{"", long + "a", long + "b", "v", "w"}}
		for range series {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: []uint32{1, 3, 2, 4}, Samples: []writev2.Sample{{Value: 1}}})
		}
		raw, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := decodeV2(raw, ingest.Content{})
		if err != nil {
			t.Fatal(err)
		}
		e := ingest.Edit{Form: formV2, Stamps: stampSets[1]}
		_, err = b.Encode(make([]byte, 0, b.Bound(e)), e)
		if tooLarge := err != nil && fault.From(err).Kind == fault.TooLarge; tooLarge != want {
			t.Errorf("%d series with names of %d bytes: %v, want too large: %v", series, symbol, err, want)
		}
	}
	f(1<<20, 5, false)
	f(1<<20, 200, true)
	f(1000, 20_000, false)
}
