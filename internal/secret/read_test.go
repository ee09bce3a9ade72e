package secret

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDirs(t *testing.T) {
	l := newLab(t, byEvents)
	l.kubelet("vol", "..1", map[string]string{"deep/b": "token-1"})
	f := func(name string, want ...string) {
		t.Helper()
		got := map[string]bool{}
		for _, d := range dirs(l.path(name)) {
			got[strings.TrimPrefix(strings.TrimPrefix(d, l.dir), "/")] = true
		}
		if g := slices.Sorted(maps.Keys(got)); !slices.Equal(g, want) {
			t.Errorf("%s depends on %q, want %q", name, g, want)
		}
	}
	f("vol/deep/b", "vol", "vol/..1/deep")
	f("plain", "")
	f("no/such/file", "")
	f("vol/../vol/x", "vol")
	l.must(os.Symlink("loop", l.path("loop")))
	f("loop", "")
	l.must(os.Symlink("../vol/deep/b", l.path("vol/up")))
	f("vol/up", "vol", "vol/..1/deep")
}
