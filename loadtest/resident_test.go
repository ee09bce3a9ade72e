package main

import (
	"slices"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/generate"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

func TestResidentPart(t *testing.T) {
	f := func(stack, want string) {
		t.Helper()
		if got := residentPart(frames(stack)); got != want || !slices.Contains(residentOrder, got) {
			t.Errorf("%s: %q, want %q", stack, got, want)
		}
	}
	f("runtime.mallocgc < runtime.growslice < ~/series.(*shard).rehash < ~/reduce.(*Push).round"+road, partTable)
	f("~/labels.(*memoShard).grow < ~/ingest/remotewrite.decodeV1"+road, partKeys)
	f("~/guard.(*valueSet).rebuild"+road, partGuard)
	f("~/ingest.(*Pool).get < ~/ingest.(*Pool).Receive"+road, partBuffers)
	f("internal/runtime/maps.newGroups < runtime.mapassign < ~/gateway.(*push).heldBack"+road, partRoad)
	f("~/ingest/otlp.decode"+road, partDoors)
	f("compress/flate.NewWriter < compress/gzip.(*Writer).Write < net/http.f", partCodecs)
	f("runtime.allocm < runtime.newm < runtime.startm", partRest)
	f("syscall.copyenv < os.Getenv", partRest)
}

func TestResidentOf(t *testing.T) {
	stacks := []measure.Stack{{Frames: frames("~/guard.f" + road), Amount: 60}, {Frames: frames("~/guard.g" + road), Amount: 10}, {Frames: frames("main.main"), Amount: 5}}
	m := residentOf(1000, 300, measure.Runtime{Heap: 500, Stacks: 40, Own: 30}, stacks)
	total := int64(0)
	for _, p := range m.Parts {
		total += p.Bytes
	}
	want := map[string]int64{partGuard: 70, partRest: 5, partFree: 425, partStacks: 40, partRuntime: 30, partProgram: 300, partNotThere: 130, partTable: 0}
	for name, n := range want {
		if i := slices.Index(residentOrder, name); m.Parts[i] != (report.ResidentPart{Name: name, Bytes: n}) {
			t.Errorf("%+v, want %s to have %d", m.Parts[i], name, n)
		}
	}
	if m.Bytes != 1000 || total != 1000 {
		t.Errorf("the parts of %d are %d", m.Bytes, total)
	}
}

func TestResidentIsRead(t *testing.T) {
	b := startBench(t, one("one", "", 0, generate.Spec{Kind: generate.RemoteWriteV1, Items: 100, Series: 1000}, gatewayConfig{}))
	r := new(report.Result)
	if err := b.readResident(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if r.Resident.Bytes == 0 || len(r.Resident.Parts) != len(residentOrder) || r.Resident.Parts[slices.Index(residentOrder, partProgram)].Bytes == 0 {
		t.Errorf("%+v", r.Resident)
	}
}
