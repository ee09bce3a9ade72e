package main

import (
	"strings"
	"testing"
)

func TestStages(t *testing.T) {
	const in = `goos: linux
pkg: github.com/telemetry-gateway/telemetry-gateway/internal/ingest/loki
BenchmarkStages/decode/ours-2         	     100	 900000 ns/op	        30.00 ns/item	       0 B/op
BenchmarkStages/decode/ours-2         	     100	 900000 ns/op	        10.00 ns/item	       0 B/op
BenchmarkStages/decode/ours-2         	     100	 900000 ns/op	        20.00 ns/item	       0 B/op
BenchmarkStages/decode/floor-2        	     100	 800000 ns/op	         8.00 cpu-ns/item  99 ns/item
BenchmarkOther/decode/ours-2          	     100	 1 ns/op
PASS
pkg: github.com/telemetry-gateway/telemetry-gateway/internal/series
BenchmarkStages/probe/warm/ours 	     100	 64.5 ns/op
`
	var b strings.Builder
	if err := runStages(strings.NewReader(in), &b); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"| internal/ingest/loki decode | 20.0 | 8.0 | 2.50 |", "| internal/series probe/warm | 64.5 | | |"} {
		if !strings.Contains(words, want) {
			t.Errorf("no row %q in\n%s", want, b.String())
		}
	}
	if strings.Count(b.String(), "\n") != 4 {
		t.Errorf("want a head and two rows:\n%s", b.String())
	}
	for _, bad := range []string{"", "BenchmarkStages/a/ours-2 1 5 MB/s\n"} {
		if err := runStages(strings.NewReader(bad), &b); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}
