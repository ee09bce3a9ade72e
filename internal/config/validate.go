package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"
)

// maxSecretBytes bounds a secret file. A token is some hundred bytes; a thousand of them fit.
const maxSecretBytes = 1 << 20

// validator judges what the decoder has decoded. A key that the decoder has refused already is not judged again.
type validator struct {
	*decoder
	c        *Config
	dir      string // of the file; relative paths become absolute with it
	warnings []Fault
	owners   map[string]string // credential to the client that has it, as environment/client
}

// at is the fault text at the place of path or, where the file does not have it, of what it should be in.
func (v *validator) at(path, format string, args ...any) Fault {
	f := Fault{File: v.file, Key: path, Text: fmt.Sprintf(format, args...)}
	for p := path; p != ""; p = parent(p) {
		if m, ok := v.where[p]; ok {
			f.Line, f.Column = m.line, m.column
			break
		}
	}
	return f
}

// parent is path without its last key or index.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// refuse notes a fault of path, unless the decoder has found one there or above.
func (v *validator) refuse(path, format string, args ...any) {
	for p := path; ; p = parent(p) {
		if v.bad[p] {
			return
		}
		if p == "" {
			break
		}
	}
	v.add(v.at(path, format, args...))
}

// lacks notes that section path has none of keys, unless one is there and refused, or may be there under a wrong name.
func (v *validator) lacks(path string, keys []string, format string, args ...any) {
	if v.odd[path] || slices.ContainsFunc(keys, func(k string) bool { return v.bad[join(path, k)] }) {
		return
	}
	v.refuse(path, format, args...)
}

func (v *validator) warn(path, format string, args ...any) {
	v.warnings = append(v.warnings, v.at(path, format, args...))
}

// has says whether the file has the key.
func (v *validator) has(path string) bool { _, ok := v.where[path]; return ok }

// show quotes a value of path that is no secret, unless it came from a variable.
func (v *validator) show(path string, value any) string {
	if v.env[path] {
		return "what the environment variable holds"
	}
	if s, ok := value.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(value)
}

var nameShape = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// named checks the name of an environment or a client.
func (v *validator) named(path, s string) {
	if !nameShape.MatchString(s) {
		v.refuse(path, "a name has 1 to 64 letters, digits, _ and -")
	} else if s == "anonymous" {
		v.refuse(path, "the name anonymous is reserved for pushes without credentials; choose another")
	}
}

func (v *validator) config() {
	v.owners = map[string]string{}
	if len(v.c.Environments) == 0 {
		v.lacks("", []string{"environments"}, "environments is missing or empty, so that nothing could be forwarded; add environments.<name> with clients and upstreams")
	}
	v.server()
	anonymous := ""
	for _, n := range slices.Sorted(maps.Keys(v.c.Environments)) {
		path := join("environments", n)
		v.named(path, n)
		e := v.c.Environments[n]
		if e.Anonymous {
			if anonymous != "" {
				v.refuse(path+".anonymous", "one environment at most can be anonymous, and %s is; remove one", anonymous)
			}
			anonymous = path
		}
		v.environment(path, n, e)
	}
}

// maxDecodedBytes is the largest server.max_decoded_bytes. Doors note where things stand in a push in 31 bits, and what rules and
// stamps make of one may be twice as long.
const maxDecodedBytes = Bytes(1 << 30)

func (v *validator) server() {
	s := &v.c.Server
	if s.MaxInflightBytes == 0 {
		s.MaxInflightBytes = defaultInflight(os.DirFS("/"))
	}
	if s.MaxDecodedBytes < s.MaxBodyBytes {
		v.refuse("server.max_decoded_bytes", "%s is below max_body_bytes, %s, and a body does not shrink when it is decompressed; raise this or lower that",
			v.show("server.max_decoded_bytes", s.MaxDecodedBytes), v.show("server.max_body_bytes", s.MaxBodyBytes))
	}
	if s.MaxDecodedBytes > maxDecodedBytes {
		v.refuse("server.max_decoded_bytes", "%s is over %s, the most that one push may have; lower it",
			v.show("server.max_decoded_bytes", s.MaxDecodedBytes), maxDecodedBytes)
	}
	if half := s.MaxInflightBytes / 2; half < s.MaxDecodedBytes {
		v.warn("server.max_inflight_bytes", "a client may hold half of this, %s, which is below max_decoded_bytes, %s: the largest pushes will never be admitted",
			v.show("server.max_inflight_bytes", s.MaxInflightBytes), v.show("server.max_decoded_bytes", s.MaxDecodedBytes))
	}
	if fault, ok := s.memory(os.DirFS("/")).fits(); !ok {
		v.refuse("server.max_inflight_bytes", "%s", fault)
	}
	v.listeners()
	v.serverTLS()
	if s.AdminWebConfigFile != "" {
		v.resolve(&s.AdminWebConfigFile)
		if _, ok := v.read("server.admin_web_config_file", s.AdminWebConfigFile, maxFileBytes); ok && web.Validate(s.AdminWebConfigFile) != nil {
			// The reason is left out: where the YAML does not fit, it quotes values.
			v.refuse("server.admin_web_config_file", "not a valid exporter-toolkit file, or a certificate in it cannot be loaded; see https://prometheus.io/docs/prometheus/latest/configuration/https/")
		}
	}
}

// address is a listener's place, for finding two that want the same.
type address struct{ path, host, port string }

// listeners checks every listen address, push and admin, and who is pinned to them.
func (v *validator) listeners() {
	s := &v.c.Server
	var taken []address
	if len(s.HTTPListen)+len(s.GRPCListen) == 0 {
		v.refuse("server.http_listen", "is empty and so is grpc_listen: nothing could be pushed; name at least one address")
	}
	for _, list := range []struct {
		key       string
		listeners []Listener
	}{{"server.http_listen", s.HTTPListen}, {"server.grpc_listen", s.GRPCListen}} {
		for i, l := range list.listeners {
			path := list.key + "[" + strconv.Itoa(i) + "]"
			taken = v.listen(path, l.Address, taken)
			v.pinned(path, l)
		}
	}
	v.listen("server.admin_listen", s.AdminListen, taken)
	if host, _, err := net.SplitHostPort(s.AdminListen); err == nil && !loopback(host) && s.AdminWebConfigFile == "" {
		v.warn("server.admin_listen", "off loopback without admin_web_config_file only /metrics and the health paths answer there")
	}
}

func (v *validator) listen(path, addr string, taken []address) []address {
	if addr == "" {
		v.lacks(path, []string{"address"}, "needs an address such as \":8080\" or \"127.0.0.1:8080\"")
		return taken
	}
	shown := v.show(path, addr)
	host, port, err := net.SplitHostPort(addr)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || strings.ContainsAny(host, " /@") {
		v.refuse(path, "wants an address such as \":8080\" or \"127.0.0.1:8080\", not %s", shown)
		return taken
	} else if n == 0 {
		return taken // the system chooses a port that is free
	}
	a := address{path: path, host: canonicalHost(host), port: strings.TrimLeft(port, "0")}
	for _, t := range taken {
		if t.port == a.port && (t.host == a.host || t.host == "" || a.host == "") {
			v.refuse(path, "is taken by %s; every listener needs a port of its own", t.path)
			return taken
		}
	}
	return append(taken, a)
}

// canonicalHost gives one name to each place that a listener can mean, "" to all addresses.
func canonicalHost(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return strings.ToLower(host)
	case ip.IsUnspecified():
		return ""
	}
	return ip.Unmap().String()
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// isPinned says whether a listener belongs to the client who (prod/legacy), which then needs no credential.
func (v *validator) isPinned(who string) bool {
	return slices.ContainsFunc(slices.Concat(v.c.Server.HTTPListen, v.c.Server.GRPCListen), func(l Listener) bool {
		return l.Environment+"/"+l.Client == who
	})
}

// pinned checks whose a listener's pushes without credentials are.
func (v *validator) pinned(path string, l Listener) {
	if l.Environment == "" && l.Client == "" {
		return
	}
	if l.Environment == "" || l.Client == "" {
		v.lacks(path, []string{"environment", "client"}, "environment and client go together; name both or neither")
		return
	}
	e := v.c.Environments[l.Environment]
	switch {
	case e == nil:
		v.refuse(path+".environment", "there is no environments.%s", v.bare(path+".environment", l.Environment))
	case l.Client == "anonymous" && e.Anonymous:
	case e.Clients[l.Client] == nil:
		v.refuse(path+".client", "there is no environments.%s.clients.%s", v.bare(path+".environment", l.Environment), v.bare(path+".client", l.Client))
	}
}

// bare is a name of path for use inside a key path.
func (v *validator) bare(path, s string) string {
	if v.env[path] || !nameShape.MatchString(s) {
		return "<" + path[strings.LastIndexByte(path, '.')+1:] + ">"
	}
	return s
}

func (v *validator) serverTLS() {
	t := &v.c.Server.TLS
	const path = "server.tls"
	v.resolve(&t.CertFile)
	v.resolve(&t.KeyFile)
	v.resolve(&t.ClientCAFile)
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.lacks(path, []string{"cert_file", "key_file"}, "cert_file and key_file go together; name both or neither")
	} else if t.CertFile != "" {
		cert, ok1 := v.read(path+".cert_file", t.CertFile, maxSecretBytes)
		key, ok2 := v.read(path+".key_file", t.KeyFile, maxSecretBytes)
		if ok1 && ok2 {
			if _, err := tls.X509KeyPair(cert, key); err != nil {
				v.refuse(path+".cert_file", "is no certificate that goes with key_file: %v", err)
			}
		}
	}
	if t.ClientCAFile == "" {
		return
	}
	if t.CertFile == "" {
		v.refuse(path+".client_ca_file", "needs cert_file and key_file: without TLS no client shows a certificate")
	}
	if ca, ok := v.read(path+".client_ca_file", t.ClientCAFile, maxSecretBytes); ok && !x509.NewCertPool().AppendCertsFromPEM(ca) {
		v.refuse(path+".client_ca_file", "has no PEM certificate")
	}
	for _, e := range v.c.Environments {
		for _, c := range e.Clients {
			if c.ClientCert != "" {
				return
			}
		}
	}
	v.warn(path+".client_ca_file", "no client has a client_cert, so that certificates are verified for nothing")
}

// resolve makes the path of a file absolute.
func (v *validator) resolve(file *string) { *file = promconfig.JoinDir(v.dir, *file) }

// read reads the file that path names, or notes why it cannot.
func (v *validator) read(path, file string, limit int64) ([]byte, bool) {
	content, err := readFile(file, limit)
	if err == nil {
		return content, true
	}
	shown := " " + strconv.Quote(file)
	if v.env[path] || tokenShape.MatchString(file) {
		shown = ""
	}
	v.refuse(path, "cannot read the file%s: %v", shown, err)
	return nil, false
}

// tokenShape finds tokens where a path should be: people do write a secret into a key that wants its file.
var tokenShape = regexp.MustCompile(`glc_|glsa_|eyJ`)
