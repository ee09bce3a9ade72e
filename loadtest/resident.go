package main

import (
	"context"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// The parts of a resident set that are not parts of what a push does.
const (
	partDoors    = "doors"
	partCodecs   = "codecs"
	partBuffers  = "buffers of pushes"
	partFree     = "garbage, and free but kept"
	partStacks   = "stacks"
	partRuntime  = "the runtime itself"
	partProgram  = "program and libraries"
	partNotThere = "nobody's, less what is untouched"
)

// residentOrder is the order in which they are shown: what is in use of the heap, then all else.
var residentOrder = []string{
	partTable, partKeys, partRules, partGuard, partDoors, partCodecs, partBuffers, partHTTP, partCrypto, partRoad, partBooks, partRest,
	partFree, partStacks, partRuntime, partProgram, partNotThere,
}

// residentPart says what the memory that was allocated in a stack is for.
func residentPart(frames []string) string {
	var ours []string // without the runtime, which only gave it
	for _, f := range frames {
		if !strings.HasPrefix(f, "runtime.") && !strings.HasPrefix(f, "internal/runtime/") {
			ours = append(ours, f)
		}
	}
	part, function := place(ours)
	switch {
	case strings.HasPrefix(function, modulePath+"/internal/ingest."):
		return partBuffers
	case part == partWalk, part == partReduce, part == partRewrite:
		return partDoors
	case part == partCompress, part == partDecompress:
		return partCodecs
	case part == partCalls, part == partSchedule:
		return partRest
	}
	return part
}

// readResident says what the resident set of the gateway consists of, now. It lets the gateway collect its garbage, but for which
// nobody could tell what is in use.
func (b *bench) readResident(ctx context.Context, r *report.Result) error {
	process := measure.Process(b.target.pid)
	rss, _, err := process.Memory()
	if err != nil {
		return err
	}
	files, err := process.Files()
	if err != nil {
		return err
	}
	held, err := measure.ReadRuntime(ctx, b.target.admin+"/metrics")
	if err != nil {
		return err
	}
	stacks, err := measure.HeapProfile(ctx, b.target.admin+"/debug/pprof")
	if err != nil {
		return err
	}
	r.Resident = residentOf(rss, files, held, stacks)
	return nil
}

// residentOf adds up. What is left over is no more than pages that the runtime has and has not touched, and what nobody owns.
func residentOf(rss, files uint64, held measure.Runtime, stacks []measure.Stack) *report.Resident {
	parts := map[string]int64{partStacks: int64(held.Stacks), partRuntime: int64(held.Own), partProgram: int64(files)}
	used := int64(0)
	for _, s := range stacks {
		parts[residentPart(s.Frames)] += s.Amount
		used += s.Amount
	}
	parts[partFree] = int64(held.Heap) - used
	parts[partNotThere] = int64(rss) - int64(held.Heap+held.Stacks+held.Own) - int64(files)
	m := &report.Resident{Bytes: rss}
	for _, name := range residentOrder {
		m.Parts = append(m.Parts, report.ResidentPart{Name: name, Bytes: parts[name]})
	}
	return m
}
