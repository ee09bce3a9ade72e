package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
)

// frames are a stack's functions, the innermost first; ~ stands for this module's internal.
func frames(list string) []string {
	return strings.Split(strings.ReplaceAll(list, "~", modulePath+"/internal"), " < ")
}

// road is what is outside of all that a push does.
const road = " < ~/gateway.(*Gateway).serve < ~/gateway.(*door).handle < net/http.serverHandler.ServeHTTP < net/http.(*conn).serve"

func TestPlace(t *testing.T) {
	f := func(stack, part, function string) {
		t.Helper()
		gotPart, got := place(frames(stack))
		if gotPart != part || short(got) != function {
			t.Errorf("%s: %q, %q; want %q, %q", stack, gotPart, short(got), part, function)
		}
	}
	read := "internal/runtime/syscall/linux.Syscall6 < syscall.RawSyscall6 < syscall.Syscall < syscall.read < syscall.Read < internal/poll.(*FD).Read"
	f(read+" < net.(*conn).Read < net/http.(*connReader).Read < net/http.(*body).Read < ~/ingest.(*Pool).Receive"+road, partCalls, "syscall.read")
	f("internal/runtime/syscall/linux.Syscall6 < internal/runtime/syscall/linux.EpollWait < runtime.netpoll < runtime.findRunnable < runtime.mcall", partCalls, "linux.EpollWait")
	f("runtime.futex < runtime.futexwakeup < runtime.notewakeup < runtime.startm < runtime.wakep < runtime.ready < runtime.goready", partWakeUps, "runtime.futex")
	f("runtime.futex < runtime.futexwakeup < runtime.entersyscallWakeSysmon < syscall.Syscall < syscall.read", partWakeUps, "runtime.futex")
	f("runtime.casgstatus < runtime.findRunnable < runtime.schedule < runtime.park_m < runtime.mcall", partSchedule, "runtime.schedule")
	f("runtime.selectgo < net/http.(*persistConn).roundTrip < ~/egress.(*Upstream).Send"+road, partSchedule, "runtime.selectgo")
	f("runtime.lock2 < runtime.newstack < runtime.morestack", partSchedule, "runtime.lock2")
	f("runtime.greyobject < runtime.scanobject < runtime.gcDrain < runtime.gcBgMarkWorker.func2 < runtime.systemstack", partCollect, "runtime.scanobject")
	f("runtime.gcAssistAlloc < runtime.mallocgc < runtime.newobject < ~/egress.(*Upstream).Send"+road, partCollect, "runtime.gcAssistAlloc")
	f("runtime.nextFreeFast < runtime.mallocgc < runtime.makeslice < net/textproto.readMIMEHeader < net/http.readRequest", partAllocate, "textproto.readMIMEHeader")
	f("runtime.mallocgc < runtime.newobject", partAllocate, "runtime.mallocgc")
	f("aeshashbody < internal/runtime/maps.h2 < runtime.mapaccess2_faststr < net/http.readTransfer < net/http.(*conn).serve", partHTTP, "http.readTransfer")
	f("crypto/internal/fips140/aes/gcm.gcmAesEnc < crypto/tls.(*Conn).Write < net/http.(*persistConn).writeLoop", partCrypto, "gcm.gcmAesEnc")

	s2 := "github.com/klauspost/compress/s2."
	f(s2+"encodeSnappyBlockAsm < "+s2+"EncodeSnappy < ~/ingest.(*Pool).Compress"+road, partCompress, "s2.encodeSnappyBlockAsm")
	f("runtime.memmove < "+s2+"s2Decode < "+s2+"Decode < ~/ingest.(*Pool).unsnappy"+road, partDecompress, "s2.s2Decode")
	flate := "github.com/klauspost/compress/flate."
	f(flate+"(*fastEncL1).Encode < github.com/klauspost/compress/gzip.(*Writer).Write"+road, partCompress, "flate.(*fastEncL1).Encode")
	f("hash/crc32.update < github.com/klauspost/compress/gzip.(*Reader).Read < io.ReadAtLeast"+road, partDecompress, "gzip.(*Reader).Read")
	f(flate+"(*huffmanDecoder).init < "+flate+"(*decompressor).nextBlock < github.com/klauspost/compress/gzip.(*Reader).Read"+road, partDecompress, "flate.(*huffmanDecoder).init")

	rw := "~/ingest/remotewrite."
	f("~/wire.Next < "+rw+"countFields < "+rw+"decodeV1 < ~/gateway.(*push).read"+road, partWalk, "remotewrite.countFields")
	f("runtime.memmove < "+rw+"(*merger).flush < "+rw+"(*batchV1).Encode"+road, partRewrite, "remotewrite.(*merger).flush")
	f(rw+"(*batchV1).Bound.func1 < slices.Sort < "+rw+"(*batchV1).Bound"+road, partRewrite, "remotewrite.(*batchV1).Bound.func1")
	f(rw+"(*reduction).added < ~/reduce.(*Push).round < "+rw+"(*batchV1).Reduce"+road, partReduce, "remotewrite.(*reduction).added")
	f("~/ingest/otlp.walk < ~/ingest/otlp.decode < ~/ingest/zipkin.decode"+road, partWalk, "otlp.walk")
	f("~/labels.(*Seed).bytes < "+rw+"decodeV1"+road, partKeys, "labels.(*Seed).bytes")
	f("sync/atomic.(*Uint64).Load < ~/series.(*outputs).claim < ~/reduce.(*Push).claim < "+rw+"(*batchV1).Reduce"+road, partTable, "series.(*outputs).claim")
	f("regexp.(*Regexp).doExecute < ~/relabel.(*Rules).Apply < ~/reduce.(*Push).miss"+road, partRules, "relabel.(*Rules).Apply")
	f("~/guard.(*Policy).Admit < ~/reduce.(*Push).miss"+road, partGuard, "guard.(*Policy).Admit")
	f("runtime.memmove < ~/ingest.(*Pool).grow < ~/ingest.(*Pool).Receive"+road, partRoad, "ingest.(*Pool).grow")
	f("context.value < net/http/httptrace.WithClientTrace < ~/egress.(*Upstream).Send"+road, partHTTP, "httptrace.WithClientTrace")
	f("github.com/prometheus/client_golang/prometheus.(*MetricVec).hashLabels"+road, partBooks, "prometheus.(*MetricVec).hashLabels")
	f("main.main < runtime.main", partSchedule, "main.main")
	f("example.com/x.f[example.com/y.Z]", partRest, "x.f")
	f("~/ingest/remotewrite.room[go.shape.a]"+road, partWalk, "remotewrite.room")
	f("~/gateway.pool[go.shape.int].get"+road, partRoad, "gateway.pool.get")
}

// TestPartsOfPackages: a package of ours that is named is there. One that gets another name would count for the road, unseen.
func TestPartsOfPackages(t *testing.T) {
	for prefix := range known {
		if folder, ours := strings.CutPrefix(prefix, modulePath+"/"); ours {
			if info, err := os.Stat(filepath.Join("..", strings.TrimRight(folder, "./"))); err != nil || !info.IsDir() {
				t.Errorf("%s: there is no such package: %v", prefix, err)
			}
		}
	}
}

// TestEveryPartIsShown: what a stack can be put to is in the order, or it would be missing from the sum.
func TestEveryPartIsShown(t *testing.T) {
	for prefix, part := range known {
		if part != "" && part != someCodec && part != someDoor && !slices.Contains(partOrder, part) {
			t.Errorf("%s: there is no part %q", prefix, part)
		}
	}
}

func TestProfileOf(t *testing.T) {
	list := []measure.Stack{
		{Frames: frames("runtime.memmove < ~/labels.Key" + road), Count: 1, Amount: 10},
		{Frames: frames("~/labels.Key" + road), Count: 2, Amount: 20},
		{Frames: frames("~/labels.other" + road), Count: 1, Amount: 10},
		{Frames: frames("compress/flate.x < runtime/pprof.profileWriter"), Count: 50, Amount: 500},
		{Frames: nil, Count: 1, Amount: 10},
		{Frames: frames("~/guard.A" + road), Count: 5, Amount: 50},
	}
	p := profileOf(list)
	share := func(part string) float64 { return p.Parts[slices.Index(partOrder, part)].Share }
	if p.Samples != 10 || len(p.Parts) != len(partOrder) || share(partGuard) != 0.5 || share(partRest) != 0.1 || share(partHTTP) != 0 {
		t.Fatalf("%+v", p)
	}
	if keys := p.Parts[slices.Index(partOrder, partKeys)]; keys.Name != partKeys || keys.Share != 0.4 || len(keys.Functions) != 2 || keys.Functions[0].Name != "labels.Key" || keys.Functions[0].Share != 0.3 {
		t.Errorf("%+v", keys)
	}
}

// TestPartsAreMeasured: a scenario is run once more, and everything that the profile saw is in a part.
func TestPartsAreMeasured(t *testing.T) {
	b := startBench(t, one("one", "", 0, generate.Spec{Kind: generate.RemoteWriteV1, Items: 500, Series: 1000}, gatewayConfig{}))
	b.floor, b.profile, b.out = true, true, t.TempDir()
	r := b.run(t)
	before := b.loads[0].From
	if err := b.measureParts(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if b.loads[0].From <= before {
		t.Error("nothing was sent while it was profiled")
	}
	total := 0.0
	for _, p := range r.Profile.Parts {
		total += p.Share
		if (p.Floor > 0) != (p.Name == partDecompress || p.Name == partWalk) {
			t.Errorf("%s has the floor %v", p.Name, p.Floor)
		}
	}
	if math.Abs(total-1) > 1e-9 || r.Profile.Samples == 0 {
		t.Errorf("%d samples make %g: %v", r.Profile.Samples, total, r.Profile.Parts)
	}
	for _, kind := range []string{"cpu", "heap", "allocs"} {
		if info, err := os.Stat(filepath.Join(b.out, "one."+kind+".pprof")); err != nil || info.Size() == 0 {
			t.Errorf("the profile of %s: %v", kind, err)
		}
	}
}
