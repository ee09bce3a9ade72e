//go:build kubernetes

package kubernetes_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a control plane with nodes that are only pretended.
type cluster struct {
	*api
	dir   string // kubeconfig files, keys, logs
	bin   string // etcd, Kubernetes' programs, kubectl
	kwok  string
	helm  string
	chart string
}

// start brings up etcd, the API server, the controllers, the scheduler and kwok, all on 127.0.0.1, and ends them with the
// test. The order is that of who needs whom.
func start(t *testing.T) *cluster {
	t.Helper()
	runtime.LockOSThread() // of Pdeathsig: "parent" means the thread that started the child
	c := &cluster{
		dir: t.TempDir(), bin: env(t, "KUBERNETES"), kwok: env(t, "KWOK"), helm: env(t, "HELM"),
		chart: "../../deploy/helm/telemetry-gateway",
	}
	c.credentials(t)

	client, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	c.daemon(t, c.bin+"/etcd", "--data-dir="+c.path("etcd"), "--log-level=warn", "--unsafe-no-fsync",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)

	_, port, _ := net.SplitHostPort(strings.TrimPrefix(c.url, "https://"))
	ready := c.daemon(t, c.bin+"/kube-apiserver", "--etcd-servers="+client, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--endpoint-reconciler-type=none", // it would publish its own address, and 127.0.0.1 may not be published
		"--cert-dir="+c.path("certs"), "--tls-cert-file="+c.path("server.crt"), "--tls-private-key-file="+c.path("server.key"),
		"--token-auth-file="+c.path("tokens.csv"), "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+c.path("server.key"),
		"--service-account-signing-key-file="+c.path("server.key"))
	eventually(t, "the API server is ready", func() error {
		if err := ready(); err != nil {
			t.Fatal(err)
		}
		code, said, err := c.do(t, http.MethodGet, "/readyz", nil)
		if err != nil || code == http.StatusOK {
			return err
		}
		return fmt.Errorf("%d: %.200s", code, said)
	})

	c.daemon(t, c.bin+"/kube-controller-manager", "--kubeconfig="+c.kubeconfig("controllers"), "--secure-port=0", "--leader-elect=false",
		"--use-service-account-credentials", "--service-account-private-key-file="+c.path("server.key"), "--root-ca-file="+c.path("ca.crt"),
		"--horizontal-pod-autoscaler-sync-period=1s")
	c.daemon(t, c.bin+"/kube-scheduler", "--kubeconfig="+c.kubeconfig("scheduler"), "--secure-port=0", "--leader-elect=false")
	c.daemon(t, c.kwok, "--kubeconfig="+c.kubeconfig("admin"), "--manage-all-nodes", "--v=WARN", "--node-lease-duration-seconds=40",
		"--config="+env(t, "KWOK_NODES")+"/fast/node-initialize.yaml",
		"--config="+env(t, "KWOK_NODES")+"/heartbeat-with-lease/node-heartbeat-with-lease.yaml", "--config=stages.yaml")
	return c
}

// daemon starts a program that ends with the test, or with the test's process should that end badly. It returns a func that
// says whether the program has ended already, and what it said last.
func (c *cluster) daemon(t *testing.T, program string, args ...string) (ended func() error) {
	t.Helper()
	name := filepath.Base(program)
	log, err := os.Create(c.path(name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // that it ended is what matters; why is in the log
	}()
	t.Cleanup(func() {
		select {
		case <-done:
			t.Errorf("%s ended before the test did", name)
		default:
		}
		_ = cmd.Process.Kill()
		<-done
		_ = log.Close()
		if t.Failed() {
			t.Logf("%s said last:\n%s", name, c.tail(name))
		}
	})
	return func() error {
		select {
		case <-done:
			return fmt.Errorf("%s has ended: %s", name, c.tail(name))
		default:
			return nil
		}
	}
}

// tail returns the end of a program's log.
func (c *cluster) tail(name string) string {
	raw, err := os.ReadFile(c.path(name + ".log"))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	var b strings.Builder
	for _, line := range lines[max(0, len(lines)-15):] {
		fmt.Fprintf(&b, "%.300s\n", line)
	}
	return b.String()
}

func (c *cluster) path(name string) string       { return filepath.Join(c.dir, name) }
func (c *cluster) kubeconfig(user string) string { return c.path(user + ".kubeconfig") }

// credentials makes a certificate for the API server, a token and a kubeconfig for everybody who talks to it.
func (c *cluster) credentials(t *testing.T) {
	t.Helper()
	authority := c.certificates(t)
	address := freeAddress(t)
	c.api = &api{url: "https://" + address, client: trusting(t, authority)}

	var tokens strings.Builder
	for _, u := range []struct{ name, user, groups string }{
		{"admin", "admin", "system:masters"},
		{"controllers", "system:kube-controller-manager", ""},
		{"scheduler", "system:kube-scheduler", ""},
	} {
		secret := make([]byte, 16)
		_, _ = rand.Read(secret) // never fails
		token := hex.EncodeToString(secret)
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, u.user, u.user, u.groups)
		if u.name == "admin" {
			c.token = token
		}
		c.write(t, u.name+".kubeconfig", fmt.Appendf(nil, `{
"apiVersion": "v1", "kind": "Config", "current-context": "test",
"contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
"clusters": [{"name": "test", "cluster": {"server": %q, "certificate-authority": %q}}],
"users": [{"name": "test", "user": {"token": %q}}]}`, c.url, c.path("ca.crt"), token))
	}
	c.write(t, "tokens.csv", []byte(tokens.String()))
}

// certificates writes an authority, and a certificate of it for 127.0.0.1. The server's key signs service accounts' tokens too.
func (c *cluster) certificates(t *testing.T) *x509.Certificate {
	t.Helper()
	issue := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		serial, err2 := rand.Int(rand.Reader, big.NewInt(1<<62))
		crt := &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if parent == nil {
			crt.IsCA, crt.BasicConstraintsValid, crt.KeyUsage, crt.ExtKeyUsage, crt.IPAddresses = true, true, x509.KeyUsageCertSign, nil, nil
			parent, signer = crt, key
		}
		der, err3 := x509.CreateCertificate(rand.Reader, crt, parent, &key.PublicKey, signer)
		crt, err4 := x509.ParseCertificate(der)
		raw, err5 := x509.MarshalECPrivateKey(key)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		c.write(t, name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		c.write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
		return crt, key
	}
	ca, key := issue("ca", nil, nil)
	issue("server", ca, key)
	return ca
}

func (c *cluster) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// env returns what run.sh tells the test.
func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run test/kubernetes/run.sh", name)
	}
	return v
}
