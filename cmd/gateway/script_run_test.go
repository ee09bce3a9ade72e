package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// patience is how long a script waits for what must come. Secret files take effect within 10 s.
const patience = 15 * time.Second

// process is a started gateway.
type process struct {
	cmd         *exec.Cmd
	log         logbook
	read        int // up to where the script has read it
	http, admin string
	done        chan struct{} // closed when it has ended
}

// logbook is the file to which a process writes: what it has written before it answers is there after the answer, which
// could not be said of a pipe.
type logbook struct{ path string }

func (l logbook) String() string {
	text, err := os.ReadFile(l.path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// wait returns the first whole line after offset for which found is true, and where it ends; "" if there is none when
// it is over.
func (l logbook) wait(offset int, found func(line string) bool, over <-chan time.Time) (string, int) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for last := false; ; {
		end := offset
		for line := range strings.Lines(l.String()[offset:]) {
			end += len(line)
			if strings.HasSuffix(line, "\n") && found(line) {
				return line, end
			}
		}
		if last {
			return "", offset
		}
		select {
		case <-again.C:
		case <-over:
			last = true // once more: the line may have come with the end
		}
	}
}

// passed on to a started gateway; gateway.yaml may use them as ${env:NAME}.
var passed = []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "CLOUD", "CLOUD_TLS"}

// The addresses in the line that a gateway writes when its ports are open, as JSON or text.
var (
	httpAddress  = regexp.MustCompile(`\bhttp"?[:=]"?\[?"?([0-9.:]+)`)
	adminAddress = regexp.MustCompile(`\badmin"?[:=]"?([0-9.:]+)`)
)

// start runs a gateway in the background and returns when its ports are open.
func (s *script) start(args ...string) {
	s.plain(args, 0, 9)
	if s.running != nil {
		s.Fatalf("a gateway runs already")
	}
	path, err := exec.LookPath(program)
	s.Check(err)
	p := &process{log: logbook{s.MkAbs("log")}, done: make(chan struct{})}
	file, err := os.Create(p.log.path)
	s.Check(err)
	defer file.Close() // the process has it open itself
	p.cmd = exec.Command(path, append([]string{"run", "--config.file=gateway.yaml"}, args...)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.MkAbs("."), file, file
	for _, name := range passed {
		p.cmd.Env = append(p.cmd.Env, name+"="+s.Getenv(name))
	}
	s.Check(p.cmd.Start())
	over := make(chan time.Time)
	go func() {
		_ = p.cmd.Wait() // its exit code is read from ProcessState
		close(p.done)
		close(over)
	}()
	line, _ := p.log.wait(0, func(line string) bool { return strings.Contains(line, "gateway started") }, over)
	if line == "" {
		s.Fatalf("the gateway did not start:\n%s", p.log)
	}
	p.http, p.admin = httpAddress.FindStringSubmatch(line)[1], adminAddress.FindStringSubmatch(line)[1]
	s.running = p
	s.Setenv("HTTP", p.http)
	s.Setenv("ADMIN", p.admin)
}

// kill ends a gateway whose script is over without having stopped it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (s *script) process() *process {
	if s.running == nil {
		s.Fatalf("no gateway runs")
	}
	return s.running
}

var signals = map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}

func (s *script) signal(args ...string) {
	s.plain(args, 1, 1)
	s.Check(s.process().cmd.Process.Signal(signals[args[0]]))
}

// stop ends the gateway as Kubernetes does, and checks what must be true of every gateway that ever ran.
func (s *script) stop(args ...string) {
	s.plain(args, 0, 1)
	p := s.process()
	s.balanced()
	s.discreet("the status API", s.ask(http.MethodGet, "/api/v1/status/config").body+s.ask(http.MethodGet, "/").body)
	how := os.Signal(syscall.SIGTERM)
	if len(args) == 1 {
		how = signals[args[0]]
	}
	s.Check(p.cmd.Process.Signal(how))
	s.ended()
}

// ended waits until the gateway has left, as it should.
func (s *script) ended(args ...string) {
	s.plain(args, 0, 0)
	p := s.process()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		s.Fatalf("the gateway did not end:\n%s", p.log)
	}
	s.running = nil
	s.discreet("the log", p.log.String())
	if s.exit = p.cmd.ProcessState.ExitCode(); s.exit != 0 {
		s.Fatalf("exit code %d:\n%s", s.exit, p.log)
	}
	if v := s.cloud.Violations(); len(v) > 0 {
		s.Fatalf("the cloud has seen what breaks a rule: %v", v)
	}
}

func (s *script) logged(args ...string) {
	if len(args) != 1 {
		s.Fatalf("usage: logged REGEXP")
	}
	re, err := regexp.Compile(args[0])
	s.Check(err)
	p := s.process()
	if s.neg {
		s.want(re.MatchString(p.log.String()), "the log has %q:\n%s", args[0], p.log)
		return
	}
	line, end := p.log.wait(p.read, re.MatchString, time.After(patience))
	if line == "" {
		s.Fatalf("%q is not logged:\n%s", args[0], p.log.String()[p.read:])
	}
	p.read = end
}

// logkeys wants all lines to be JSON objects, and one with a message to have just these keys.
func (s *script) logkeys(args ...string) {
	s.plain(args, 2, 99)
	p := s.process()
	line, _ := p.log.wait(0, func(line string) bool { return strings.Contains(line, `"msg":"`+args[0]+`"`) }, time.After(patience))
	if line == "" {
		s.Fatalf("no message %q:\n%s", args[0], p.log)
	}
	for l := range strings.Lines(p.log.String()) {
		if !json.Valid([]byte(l)) {
			s.Fatalf("a line that is no JSON: %s", l)
		}
	}
	if keys := keysOf(line); !slices.Equal(keys, args[1:]) {
		s.Fatalf("%q has the keys %v, want %v", args[0], keys, args[1:])
	}
}

// keysOf are the keys of a JSON object, in their order.
func keysOf(object string) (keys []string) {
	d := json.NewDecoder(strings.NewReader(object))
	_, _ = d.Token()
	for d.More() {
		k, _ := d.Token()
		keys = append(keys, k.(string))
		var skip json.RawMessage
		_ = d.Decode(&skip)
	}
	return keys
}

func (s *script) get(args ...string)  { s.admin(http.MethodGet, args) }
func (s *script) post(args ...string) { s.admin(http.MethodPost, args) }

func (s *script) admin(method string, args []string) {
	s.plain(args, 1, 2)
	address := s.process().admin
	if len(args) == 2 {
		address = strings.TrimPrefix(args[1], "to=")
	}
	s.took(s.askAt(address, method, args[0]))
}

func (s *script) ask(method, path string) answer { return s.askAt(s.process().admin, method, path) }

func (s *script) askAt(address, method, path string) answer {
	req, err := http.NewRequest(method, "http://"+address+path, nil)
	s.Check(err)
	a, err := do(req)
	s.Check(err)
	return a
}

// families are the gateway's metrics.
func (s *script) families() map[string]*dto.MetricFamily {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	text := s.ask(http.MethodGet, "/metrics").body
	s.discreet("/metrics", text)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	s.Check(err)
	return families
}

var selector = regexp.MustCompile(`^(\w+)(?:\{(.*)\})?$`)

func (s *script) metric(args ...string) {
	if len(args) != 2 {
		s.Fatalf("usage: metric NAME{LABELS} N")
	}
	m := selector.FindStringSubmatch(args[0])
	if m == nil {
		s.Fatalf("%s is no selector", args[0])
	}
	labels := map[string]string{}
	for pair := range strings.SplitSeq(m[2], ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			labels[name] = strings.Trim(value, `"`)
		}
	}
	want, err := strconv.ParseFloat(args[1], 64)
	s.Check(err)
	sum := sumOf(s.families()[m[1]], labels)
	s.want(sum == want, "%s is %g, want %g", args[0], sum, want)
}

// sumOf adds up the series of f that have labels.
func sumOf(f *dto.MetricFamily, labels map[string]string) (sum float64) {
	for _, m := range f.GetMetric() {
		fit := 0
		for _, l := range m.GetLabel() {
			if want, ok := labels[l.GetName()]; ok && want == l.GetValue() {
				fit++
			}
		}
		if fit == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// balanced wants received = forwarded + dropped + failed for each environment, client and signal.
func (s *script) balanced() {
	families := s.families()
	for _, m := range families["gateway_items_received_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		sum := 0.0
		for _, name := range []string{"forwarded", "dropped", "failed"} {
			sum += sumOf(families["gateway_items_"+name+"_total"], labels)
		}
		if received := m.GetCounter().GetValue(); received != sum {
			s.Fatalf("the books of %v do not balance: %g received, %g forwarded, dropped or failed", labels, received, sum)
		}
	}
}

// answer is what the gateway has answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func do(req *http.Request) (answer, error) {
	client := http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// took remembers an answer for the commands that look at it.
func (s *script) took(a answer) {
	s.answer = a
	_, err := io.WriteString(s.Stdout(), a.body)
	s.Check(err)
	s.discreet("the answer", a.body)
}
