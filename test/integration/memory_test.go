package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Who may not speak costs no memory: identity is decided before a message is read.
func TestUnauthenticatedGRPCMemory(t *testing.T) {
	const (
		calls       = 1000
		concurrency = 50
		connections = 8
		size        = 16 << 20
		allowed     = 10 << 20
	)
	g, _, _ := newOTLPGateway(t, "", "")
	message := otlpLog(t, strings.Repeat("x", size))
	conns := make([]*grpc.ClientConn, connections)
	for i := range conns {
		c, err := grpc.NewClient("passthrough:///"+g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	storm := func(calls int, message []byte) (refused, other int64) {
		var next, yes, no atomic.Int64
		var first sync.Once
		var wg sync.WaitGroup
		for range concurrency {
			wg.Go(func() {
				for {
					i := int(next.Add(1))
					if i > calls {
						return
					}
					ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
					if i%2 == 0 {
						ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer not-a-client")
					}
					err := exportRaw(ctx, conns[i%connections], message)
					cancel()
					if status.Code(err) == codes.Unauthenticated {
						yes.Add(1)
					} else {
						no.Add(1)
						first.Do(func() { t.Errorf("call %d: %v", i, err) })
					}
				}
			})
		}
		wg.Wait()
		return yes.Load(), no.Load()
	}

	// Connections, goroutines and a settled garbage collector, by calls that are too small to matter: what the size of
	// the messages costs is all that is measured.
	const warmup = calls
	storm(warmup, otlpLog(t, "small"))
	before := residentBytes(t, g.cmd.Process.Pid)
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		highest := before
		for {
			select {
			case <-stop:
				peak <- highest
				return
			case <-time.After(5 * time.Millisecond):
				highest = max(highest, residentBytes(t, g.cmd.Process.Pid))
			}
		}
	}()
	refused, other := storm(calls, message)
	close(stop)
	grown := <-peak - before
	if refused != calls || other != 0 {
		t.Errorf("%d of %d calls were refused as UNAUTHENTICATED", refused, calls)
	}
	t.Logf("resident memory grew from %d KiB by %d KiB at most", before>>10, grown>>10)
	if grown >= allowed {
		t.Errorf("resident memory grew by %d bytes over %d refused calls of %d bytes, want less than %d", grown, calls, size, allowed)
	}
	if n := g.metric("gateway_auth_failures_total"); n != calls+warmup {
		t.Errorf("gateway_auth_failures_total is %g, want %d", n, calls+warmup)
	}

	// The same connections still serve a client that may speak.
	ctx := metadata.AppendToOutgoingContext(background(t), "authorization", "Bearer "+clientToken)
	if err := exportRaw(ctx, conns[0], otlpLog(t, "welcome")); err != nil {
		t.Errorf("a client's push after the storm: %v", err)
	}
}

func residentBytes(t testing.TB, pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Errorf("read memory: %v", err)
		return 0
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Errorf("read memory: %v", err)
			}
			return kib << 10
		}
	}
	t.Error("no VmRSS")
	return 0
}
