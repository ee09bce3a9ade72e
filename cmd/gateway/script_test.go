package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// program is the name under which scripts run this test binary as the gateway.
const program = "gateway-program"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// TestScripts runs testdata/*.txtar. A script finds in its folder what is in testdata/kit, secret files of its own, and
// a pretend cloud at $CLOUD with a stack for prod (users 1001, 1002, 1003) and one for dev (2001, 2002, 2003). Besides
// testscript's own commands it has:
//
//	gateway ARG...            run the command line to its end; ! gateway wants it to fail
//	code N                    the exit code of the last gateway
//	start [ARG...]            gateway run with --config.file=gateway.yaml in the background; $HTTP and $ADMIN are its ports,
//	                          the file log is what it writes
//	stop [INT]                SIGTERM (or SIGINT), and wait; wants exit code 0
//	ended                     wait without a signal; wants exit code 0
//	signal HUP                send a signal to the started gateway
//	logged REGEXP             wait for a log line after the last that was waited for; ! logged: in the whole log is none so far
//	logkeys MESSAGE KEY...    wait for a line with this message and want exactly these keys in it, in this order
//	push DOOR [token=] [user= password=] [body=] [items=] [header=NAME:VALUE] [to=] [&]
//	                          send a push; stdout is the answer's body. token, password and body are files, tokens in secrets/.
//	                          With & it is left waiting at the cloud, and pushed DOOR waits for its answer
//	get PATH, post PATH       ask the admin port, or with to=ADDRESS another
//	status N                  of the last answer
//	header NAME REGEXP        of the last answer
//	forwarded [as=USER] [password=FILE] [items=N]
//	                          one request has reached the cloud since the last push began; ! forwarded: none has
//	stored REGEXP             what the cloud has stored since the last push began, one item a line
//	metric NAME{LABELS} N     the sum of all series that have these labels
//	cloud fail ENDPOINT STATUS [BODY] | redirect ENDPOINT URL | page ENDPOINT | hang ENDPOINT | heal | token USER FILE | tls
//
// After each command no secret may be found in anything the gateway has said, and when a gateway stops its books balance
// and the cloud has seen no breach of a protocol.
func TestScripts(t *testing.T) {
	testscript.Run(t, params())
}

func params() testscript.Params {
	return testscript.Params{
		Dir: "testdata", Setup: setup, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gateway": command((*script).gateway), "code": command((*script).code),
			"start": command((*script).start), "stop": command((*script).stop), "ended": command((*script).ended), "signal": command((*script).signal),
			"logged": command((*script).logged), "logkeys": command((*script).logkeys),
			"push": command((*script).push), "pushed": command((*script).pushed), "get": command((*script).get), "post": command((*script).post),
			"status": command((*script).status), "header": command((*script).header),
			"forwarded": command((*script).forwarded), "stored": command((*script).stored),
			"metric": command((*script).metric), "cloud": command((*script).cloudCommand),
		},
	}
}

// script is one running script.
type script struct {
	*testscript.TestScript
	neg     bool
	dir     string
	cloud   *fakecloud.Cloud
	secrets map[string]string // by value: where it came from

	exit    int                     // of the last gateway
	running *process                // nil: none is
	answer  answer                  // the last
	waiting map[string]<-chan reply // answers to pushes with &, by door
	before  map[string]fakecloud.Stats
	pushes  int // that the cloud had stored before the last push
}

type scriptKey struct{}

// command makes a command of a method.
func command(f func(*script, ...string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s := ts.Value(scriptKey{}).(*script)
		s.TestScript, s.neg = ts, neg
		f(s, args...)
	}
}

// want fails the script unless ok, or if ok where the command was negated.
func (s *script) want(ok bool, format string, args ...any) {
	switch {
	case !ok && !s.neg:
		s.Fatalf(format, args...)
	case ok && s.neg:
		s.Fatalf("not wanted here: "+format, args...)
	}
}

// plain refuses ! where it would mean nothing, and a wrong number of arguments.
func (s *script) plain(args []string, least, most int) {
	if s.neg || len(args) < least || len(args) > most {
		s.Fatalf("wrong use of the command; see TestScripts")
	}
}

// users of the pretend cloud, by the stack they belong to.
var users = map[string][]fakecloud.Instance{
	"prod": {{User: "1001", Endpoint: fakecloud.Prometheus}, {User: "1002", Endpoint: fakecloud.Loki}, {User: "1003", Endpoint: fakecloud.OTLP}},
	"dev":  {{User: "2001", Endpoint: fakecloud.Prometheus}, {User: "2002", Endpoint: fakecloud.Loki}, {User: "2003", Endpoint: fakecloud.OTLP}},
}

// setup puts the kit into a script's folder and starts its cloud.
func setup(env *testscript.Env) error {
	s := &script{dir: env.WorkDir, secrets: map[string]string{}, waiting: map[string]<-chan reply{}}
	if err := s.copyKit(); err != nil {
		return err
	}
	var instances []fakecloud.Instance
	for _, stack := range slices.Sorted(maps.Keys(users)) {
		token := "glc_" + stack + "+0123456789abcdef="
		for _, in := range users[stack] {
			in.Name, in.Tokens = stack, []string{token}
			instances = append(instances, in)
		}
		for file, secret := range map[string]string{"cloud-" + stack: token, stack: stack + "-client-0123456789abcdef"} {
			if err := s.write("secrets/"+file, secret+"\n"); err != nil {
				return err
			}
		}
	}
	s.cloud = fakecloud.New(fakecloud.Options{Instances: instances})
	if err := s.cloud.Start(); err != nil {
		return err
	}
	env.Setenv("CLOUD", s.cloud.URL())
	env.Setenv("CLOUD_HOST", strings.TrimPrefix(s.cloud.URL(), "http://"))
	env.Values[scriptKey{}] = s
	env.Defer(func() {
		if s.running != nil {
			s.running.kill()
		}
		s.cloud.Close()
	})
	return nil
}

func (s *script) copyKit() error {
	kit, err := filepath.Glob("testdata/kit/*")
	if err != nil || len(kit) == 0 {
		return fmt.Errorf("no kit: %w", err)
	}
	for _, path := range kit {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := s.write(filepath.Base(path), string(content)); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file of the script's folder, unless the script has its own.
func (s *script) write(name, content string) error {
	path := filepath.Join(s.dir, name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// gateway runs the command line.
func (s *script) gateway(args ...string) {
	err := s.Exec(program, args...)
	s.exit = 0
	if e, ok := err.(interface{ ExitCode() int }); ok {
		s.exit = e.ExitCode()
	} else {
		s.Check(err)
	}
	s.discreet("stdout", s.ReadFile("stdout"))
	s.discreet("stderr", s.ReadFile("stderr"))
	s.want(s.exit == 0, "exit code %d", s.exit)
}

func (s *script) code(args ...string) {
	s.plain(args, 1, 1)
	if want, err := strconv.Atoi(args[0]); err != nil || want != s.exit {
		s.Fatalf("exit code %d, want %s", s.exit, args[0])
	}
}

// discreet fails if text has a secret of any file that is or was in the folder secrets.
func (s *script) discreet(where, text string) {
	files, _ := filepath.Glob(filepath.Join(s.dir, "secrets", "*"))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // the script has made it unreadable
		}
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "#") {
				s.secrets[line] = filepath.Base(file)
			}
		}
	}
	for value, file := range s.secrets {
		if strings.Contains(text, value) {
			s.Fatalf("%s shows the secret of secrets/%s:\n%s", where, file, text)
		}
	}
}
