package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/measure"
	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// The parts that a push's CPU is put to, in the order in which they are shown. Those of a floor are named where it is measured.
const (
	partCalls      = "system calls"
	partWakeUps    = "threads woken and put to sleep"
	partSchedule   = "goroutines, channels, timers"
	partCollect    = "garbage collection"
	partAllocate   = "allocation"
	partHTTP       = "net/http, net, gRPC"
	partCrypto     = "TLS and hashes"
	partDecompress = "decompress"
	partCompress   = "compress"
	partWalk       = "door: walk"
	partReduce     = "door: reduce"
	partRewrite    = "door: rewrite"
	partKeys       = "keys (labels)"
	partTable      = "table (series, reduce)"
	partRules      = "rules (relabel)"
	partGuard      = "guard and limits"
	partRoad       = "road (gateway, egress, tenant)"
	partBooks      = "metrics and log"
	partRest       = "everything else"
)

var partOrder = []string{
	partCalls, partWakeUps, partSchedule, partCollect, partAllocate, partHTTP, partCrypto, partDecompress, partCompress,
	partWalk, partReduce, partRewrite, partKeys, partTable, partRules, partGuard, partRoad, partBooks, partRest,
}

// Which part of these a frame is of is decided by how they were called from outside. See place.
const (
	someCodec = "codec"
	someDoor  = "door"
)

// known says which part a function belongs to, by how its name begins: the longest that fits counts. What is not in it, as
// memmove, sync or strconv, belongs to who called it.
var known = map[string]string{
	"runtime.gc": partCollect, "runtime.bgsweep": partCollect, "runtime.bgscavenge": partCollect, "runtime.markroot": partCollect,
	"runtime.scan": partCollect, "runtime.sweepone": partCollect, "runtime.wbBufFlush": partCollect, "runtime.(*sweepLock": partCollect,
	"runtime.mallocgc": partAllocate, "runtime.newobject": partAllocate, "runtime.makeslice": partAllocate, "runtime.growslice": partAllocate,
	"runtime.newarray": partAllocate,
	"runtime.mcall":    partSchedule, "runtime.mstart": partSchedule, "runtime.park_m": partSchedule, "runtime.schedule": partSchedule,
	"runtime.gopark": partSchedule, "runtime.goready": partSchedule, "runtime.ready": partSchedule, "runtime.wakep": partSchedule,
	"runtime.selectgo": partSchedule, "runtime.chan": partSchedule, "runtime.newproc": partSchedule, "runtime.goexit0": partSchedule,
	"runtime.sysmon": partSchedule, "runtime.(*timer": partSchedule, "runtime.netpoll": partSchedule, "runtime.gosched": partSchedule,
	"runtime.futex": partWakeUps, "runtime.usleep": partWakeUps, "runtime.osyield": partWakeUps, "runtime.tgkill": partWakeUps,
	"internal/runtime/syscall": partCalls, "syscall.": partCalls, "runtime.write1": partCalls, "runtime.madvise": partCalls,
	"runtime.mmap": partCalls, "runtime.sysMmap": partCalls,

	"net.": partHTTP, "net/": partHTTP, "internal/poll.": partHTTP, "bufio.": partHTTP, "vendor/golang.org/x/net/": partHTTP,
	"golang.org/x/net/": partHTTP, "google.golang.org/grpc": partHTTP,
	"crypto/": partCrypto, "vendor/golang.org/x/crypto/": partCrypto,
	"github.com/klauspost/compress/": someCodec, "compress/": someCodec, "github.com/golang/snappy.": someCodec,
	"github.com/prometheus/": partBooks, "log/slog.": partBooks,

	modulePath + "/internal/":         partRoad,
	modulePath + "/cmd/":              partRoad,
	modulePath + "/internal/ingest/":  someDoor,
	modulePath + "/internal/labels.":  partKeys,
	modulePath + "/internal/series.":  partTable,
	modulePath + "/internal/reduce.":  partTable,
	modulePath + "/internal/relabel.": partRules,
	modulePath + "/internal/guard.":   partGuard,
	modulePath + "/internal/limits.":  partGuard,
	// wire only steps over fields: it works for the door that calls it.
	modulePath + "/internal/wire.": "",
}

// partOf returns what a function belongs to; empty: to who called it.
func partOf(function string) (part string) {
	longest := 0
	for prefix, p := range known {
		if len(prefix) > longest && strings.HasPrefix(function, prefix) {
			longest, part = len(prefix), p
		}
	}
	return part
}

// place says which part a stack counts for, by the innermost of its functions that is known, and which function stands for it.
func place(frames []string) (part, function string) {
	for i, f := range frames {
		part := partOf(f)
		switch part {
		case "":
			continue
		case someCodec:
			entry := outermost(frames, someCodec)
			if strings.Contains(entry, "Encode") || strings.Contains(entry, "Writer") {
				return partCompress, f
			}
			return partDecompress, f
		case someDoor:
			// The road calls a door's Decode, Reduce, Bound and Encode.
			switch entry := outermost(frames, someDoor); {
			case strings.HasSuffix(entry, ".Encode"), strings.HasSuffix(entry, ".Bound"):
				return partRewrite, f
			case strings.HasSuffix(entry, ".Reduce"):
				return partReduce, f
			}
			return partWalk, f
		case partCalls, partAllocate:
			return part, caller(frames[i:], part)
		}
		return part, f
	}
	if len(frames) == 0 {
		return partRest, "unknown"
	}
	if strings.HasPrefix(frames[len(frames)-1], "runtime.") {
		return partSchedule, frames[0] // all of it is the runtime's own
	}
	return partRest, frames[0]
}

// outermost is the function of a part that was called first. A door that is called back is where it was before.
func outermost(frames []string, part string) string {
	for _, f := range slices.Backward(frames) {
		if partOf(f) == part {
			return f
		}
	}
	return ""
}

// caller is who asked for a system call or for memory: the first that is not only passing it on.
func caller(frames []string, part string) string {
	for _, f := range frames {
		switch {
		case part == partCalls && (strings.HasSuffix(f, "yscall") || strings.HasSuffix(f, "yscall6")):
		case part == partAllocate && strings.HasPrefix(f, "runtime."), part == partAllocate && strings.HasPrefix(f, "internal/runtime/"):
		default:
			return f
		}
	}
	return frames[0]
}

// heaviest is how many functions of a part are named.
const heaviest = 3

// profileOf puts stacks to parts. Those in which the profiler itself worked do not count.
func profileOf(stacks []measure.Stack) *report.Profile {
	p := new(report.Profile)
	byPart, byFunction := map[string]int64{}, map[string]map[string]int64{}
	total := int64(0)
	for _, s := range stacks {
		if slices.ContainsFunc(s.Frames, func(f string) bool { return strings.HasPrefix(f, "runtime/pprof.") }) {
			continue
		}
		part, function := place(s.Frames)
		byPart[part] += s.Amount
		if byFunction[part] == nil {
			byFunction[part] = map[string]int64{}
		}
		byFunction[part][short(function)] += s.Amount
		total += s.Amount
		p.Samples += s.Count
	}
	for _, name := range partOrder {
		one := report.Part{Name: name, Share: float64(byPart[name]) / float64(max(total, 1))}
		for f, n := range byFunction[name] {
			one.Functions = append(one.Functions, report.Function{Name: f, Share: float64(n) / float64(total)})
		}
		slices.SortFunc(one.Functions, func(a, b report.Function) int {
			return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name))
		})
		one.Functions = one.Functions[:min(heaviest, len(one.Functions))]
		p.Parts = append(p.Parts, one)
	}
	return p
}

// short is a function's name with the last element of its package's path, and without what stands for its type arguments.
func short(function string) string {
	name, rest, generic := strings.Cut(function, "[")
	if generic {
		_, rest, _ = strings.Cut(rest, "]")
	}
	return name[strings.LastIndexByte(name, '/')+1:] + rest
}
