package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// failing is a testscript.T that expects its script to fail.
type failing struct {
	*testing.T
	log    *strings.Builder
	failed *bool
}

func (f failing) Run(_ string, run func(testscript.T)) {
	done := make(chan struct{})
	go func() { // FailNow ends the goroutine
		defer close(done)
		run(f)
	}()
	<-done
}

func (f failing) Parallel()     {}
func (f failing) Verbose() bool { return false }
func (f failing) Log(args ...any) {
	for _, a := range args {
		f.log.WriteString(a.(string))
	}
}

func (f failing) Fatal(args ...any) {
	f.Log(args...)
	f.FailNow()
}

func (f failing) FailNow() {
	*f.failed = true
	runtime.Goexit()
}

// TestScriptsCanFail holds the commands of scripts to their word: what they check fails where it is not so.
func TestScriptsCanFail(t *testing.T) {
	f := func(script, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "failing.txtar")
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		p := params()
		p.Dir, p.Files = "", []string{path}
		var log strings.Builder
		failed := false
		testscript.RunT(failing{t, &log, &failed}, p)
		if !failed || !strings.Contains(log.String(), want) {
			t.Errorf("failed=%t, want a failure with %q:\n%s\n%s", failed, want, script, &log)
		}
	}
	f("gateway nonsense", "exit code 2")
	f("! gateway version", "not wanted here: exit code 0")
	f("! gateway nonsense\ncode 1", "exit code 2, want 1")
	f("start --bogus", "the gateway did not start")
	f("push loki", "no gateway runs")
	f("start\npush loki token=prod\nstatus 401", "status 204, want 401")
	f("start\npush loki token=prod\n! forwarded", "not wanted here: 1 requests")
	f("start\npush loki\nforwarded", "0 requests have reached the cloud, want 1")
	f("start\npush loki token=prod\nforwarded as=2002", "0 of them as 2002")
	f("start\npush loki token=prod\nforwarded as=1002 password=cloud-dev", "the password was not that of cloud-dev")
	f("start\npush loki token=prod items=2\nforwarded items=3", "2 items were stored, want 3")
	f("start\npush loki token=prod\nstored nothing-like-it", "does not fit what was stored")
	f("start\npush loki token=prod\n! stored line", "not wanted here")
	f("start\npush loki\nheader WWW-Authenticate Digest", "want \"Digest\"")
	f("start\nmetric gateway_pushes_total 1", "is 0, want 1")
	f("start\npush loki\n! logged refused", "not wanted here: the log has")
	f("start\nlogkeys 'gateway started' time level", "has the keys")
	// The invariants.
	f("start\ncp leak gateway.yaml\npost /-/reload\n-- leak --\n{environments: {prod: {clients: {leaked-in-a-key: {}}}}}\n-- secrets/leak --\nleaked-in-a-key\n",
		"the answer shows the secret of secrets/leak")
	f("! gateway check leaked-in-a-name\n-- secrets/leak --\nleaked-in-a-name\n", "stderr shows the secret of secrets/leak")
}
