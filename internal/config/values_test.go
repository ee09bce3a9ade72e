package config

import (
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestExpand(t *testing.T) {
	f := func(in, want string, used bool) {
		t.Helper()
		got, u, err := expand(in, lookup)
		if err != nil || got != want || u != used {
			t.Errorf("%q: got %q, %v, %v; want %q, %v", in, got, u, err, want, used)
		}
	}
	f("", "", false)
	f("plain", "plain", false)
	f("${env:NUMBER}", "7", true)
	f("a${env:NUMBER}b${env:SIZE}c", "a7b3MiBc", true)
	f("${env:EMPTY}", "", true)
	f("${env:NESTED}", "${env:SECRET}", true) // what a variable holds is not looked at again
	f("$${env:NUMBER}", "${env:NUMBER}", false)
	f("$$${env:NUMBER}", "$${env:NUMBER}", false)
	f("$${env:${env:NUMBER}", "${env:7", true)
	f("$${env:", "${env:", false)
	f("${1} $1 $$ ${name} ${ENV:X} $", "${1} $1 $$ ${name} ${ENV:X} $", false)

	bad := func(in, want string) {
		t.Helper()
		if got, used, err := expand(in, lookup); err == nil || err.Error() != want || !used {
			t.Errorf("%q: got %q, %v, %v; want error %q", in, got, used, err, want)
		}
	}
	bad("x${env:UNSET}", "environment variable UNSET is not set; set it, if need be to an empty value")
	bad("${env:NUMBER", "${env: without a closing }; write $${env: for the characters themselves")
	bad("${env:}", "${env:NAME} needs a NAME of letters, digits and _; write $${env: for the characters themselves")
	bad("${env:1A}", "${env:NAME} needs a NAME of letters, digits and _; write $${env: for the characters themselves")
}

// TestExpandInFile proves where variables expand, and that a value is decoded as what its key is.
func TestExpandInFile(t *testing.T) {
	c, err := parse("testdata/x.yaml", []byte(`
server:
  max_connections: ${env:NUMBER}  # never in a comment: ${env:UNSET}
  max_body_bytes: "${env:SIZE}"
  drain_delay: ${env:NUMBER}m
  example_values: ${env:TRUE}
environments:
  prod:
    anonymous: ${env:TRUE}
    upstreams:
      prometheus:
        url: https://${env:SECRET}.example.com/push
        remote_write_version: 1
        basic_auth: {username: 53715, password: 0123456789012345678}
    metrics:
      labels: {yaml: "{a: ${env:NUMBER}}", literal: "$${env:NUMBER}", number: 0x10, truth: true, date: 2020-01-01, one: 1.50}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	s, e := c.Server, c.Environments["prod"]
	if s.MaxConnections != 7 || s.MaxBodyBytes != 3<<20 || s.DrainDelay != Duration(7*time.Minute) || !s.ExampleValues || !e.Anonymous {
		t.Errorf("%+v %v", s, e.Anonymous)
	}
	p := e.Upstreams.Prometheus
	if p.URL != "https://"+planted+".example.com/push" || p.RemoteWriteVersion != "1" ||
		p.HTTPClientConfig.BasicAuth.Username != "53715" || p.HTTPClientConfig.BasicAuth.Password != "0123456789012345678" {
		t.Error("a text that reads as a number is not as written")
	}
	want := map[string]string{"yaml": "{a: 7}", "literal": "${env:NUMBER}", "number": "0x10", "truth": "true", "date": "2020-01-01", "one": "1.50"}
	if diff := cmp.Diff(want, e.Metrics.Labels); diff != "" {
		t.Error(diff)
	}
}

func TestBytes(t *testing.T) {
	f := func(in string, want int64, back string) {
		t.Helper()
		b, err := ParseBytes(in)
		if err != nil || b != Bytes(want) || b.String() != back {
			t.Errorf("%s: %d %v %v; want %d %s", in, b, b, err, want, back)
		}
		if again, err := ParseBytes(b.String()); err != nil || again != b {
			t.Errorf("%s: %d does not come back: %d, %v", in, b, again, err)
		}
	}
	f("0", 0, "0")
	f("1", 1, "1")
	f("100B", 100, "100")
	f("16MiB", 16<<20, "16MiB")
	f("16777216", 16<<20, "16MiB")
	f("512KiB", 512<<10, "512KiB")
	f("1024KiB", 1<<20, "1MiB")
	f("1GB", 1e9, "1GB")
	f("1500KB", 15e5, "1500KB")
	f("8388607TiB", math.MaxInt64-1<<40+1, "8388607TiB")
	f("9223372036854775807", math.MaxInt64, "9223372036854775807")
	for _, bad := range []string{"", "MiB", "-1", "1.5GiB", "16 MiB", "16mib", "1e3", "0x10", "8388608TiB", "9223372036854775808", "18446744073709551616", "1PiB", "1_000"} {
		if b, err := ParseBytes(bad); err == nil {
			t.Errorf("%q is %d", bad, b)
		}
	}
}

func TestDuration(t *testing.T) {
	f := func(in string, want time.Duration, back string) {
		t.Helper()
		d, err := ParseDuration(in)
		if err != nil || d != Duration(want) || d.String() != back {
			t.Errorf("%s: %d %v %v; want %d %s", in, d, d, err, want, back)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s: %d does not come back: %d, %v", in, d, again, err)
		}
	}
	f("0", 0, "0s")
	f("30s", 30*time.Second, "30s")
	f("5m", 5*time.Minute, "5m")
	f("1h", time.Hour, "1h")
	f("1h30m", 90*time.Minute, "1h30m")
	f("10m", 10*time.Minute, "10m")
	f("90s", 90*time.Second, "1m30s")
	f("1h5s", time.Hour+5*time.Second, "1h0m5s")
	f("250ms", 250*time.Millisecond, "250ms")
	f("1d12h", 36*time.Hour, "36h")
	for _, bad := range []string{"", "30", "-5s", "s", "1h-", "1000000000h", "5 m", "NaNs"} {
		if d, err := ParseDuration(bad); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
	out, err := yaml.Marshal(struct {
		D Duration
		B Bytes
	}{Duration(5 * time.Minute), 16 << 20})
	if err != nil || string(out) != "d: 5m\nb: 16MiB\n" {
		t.Errorf("%s%v", out, err)
	}
}

func TestMemoryFits(t *testing.T) {
	f := func(limit string, inflight Bytes, series int, ok bool) {
		t.Helper()
		root := fstest.MapFS{"proc/self/cgroup": {Data: []byte("0::/\n")}, "sys/fs/cgroup/memory.max": {Data: []byte(limit + "\n")}}
		s := Server{MaxInflightBytes: inflight, MaxSeries: series}
		if text, got := s.memory(root).fits(); got != ok || ok != (text == "") {
			t.Errorf("%s bytes for %d in flight and %d series: fits=%v %q, want %v", limit, inflight, series, got, text, ok)
		}
	}
	f("max", 1<<40, 1<<40, true)
	f("1073741824", 429496729, 4_000_000, true) // the defaults in 1 GiB
	f("536870912", 214748364, 4_000_000, false)
	f("536870912", 214748364, 1_000_000, true)
	f("268435456", 107374182, 4_000_000, false)
	f("268435456", 107374182, 500_000, true)
	f("134217728", 200<<20, 1000, false)
}

func TestMemoryLimit(t *testing.T) {
	f := func(want Bytes, files map[string]string) {
		t.Helper()
		root := fstest.MapFS{}
		for name, content := range files {
			root[name] = &fstest.MapFile{Data: []byte(content)}
		}
		if got := defaultInflight(root); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	const v1, v2 = "sys/fs/cgroup/memory/", "sys/fs/cgroup/"
	f(512<<20, nil)
	f(512<<20, map[string]string{"proc/self/cgroup": "nonsense\n"})
	f(512<<20, map[string]string{"proc/self/cgroup": "0::/\n", v2 + "memory.max": "max\n"})
	f(400, map[string]string{"proc/self/cgroup": "0::/\n", v2 + "memory.max": "1000\n"})
	// The least of a group and its parents counts.
	f(200, map[string]string{"proc/self/cgroup": "0::/a/b\n", v2 + "a/b/memory.max": "1000\n", v2 + "a/memory.max": "500\n", v2 + "memory.max": "max\n"})
	// In a container the group that /proc names is not there.
	f(400, map[string]string{"proc/self/cgroup": "0::/../../kubepods/x\n", v2 + "memory.max": "1000\n"})
	f(400, map[string]string{"proc/self/cgroup": "3:cpu,memory:/docker/x\n1:name=systemd:/\n", v1 + "memory.limit_in_bytes": "1000\n"})
	f(512<<20, map[string]string{"proc/self/cgroup": "3:memory:/\n", v1 + "memory.limit_in_bytes": "9223372036854771712\n"})
}
