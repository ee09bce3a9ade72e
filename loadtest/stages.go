package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/report"
)

// benchLine is a result of BenchmarkStages/STAGE/ours or .../floor, as `go test -bench` writes it.
var benchLine = regexp.MustCompile(`^BenchmarkStages/(.+)/(ours|floor)(?:-\d+)?\s+\d+\s+(.*)$`)

// runStages reads what `go test -bench BenchmarkStages` writes, and writes one row for each stage: ours, the floor and how far
// apart they are. Of several rounds medians count.
func runStages(in io.Reader, out io.Writer) error {
	type stage struct {
		name        string
		ours, floor []float64
	}
	var stages []*stage
	folder := ""
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "pkg: "+modulePath+"/"); ok {
			folder = name
		}
		m := benchLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		ns, err := perItem(m[3])
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		name := folder + " " + m[1]
		i := slices.IndexFunc(stages, func(s *stage) bool { return s.name == name })
		if i < 0 {
			i, stages = len(stages), append(stages, &stage{name: name})
		}
		list := &stages[i].ours
		if m[2] == "floor" {
			list = &stages[i].floor
		}
		*list = append(*list, ns)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	rows := [][]string{{"stage", "ours ns/item", "floor ns/item", "ratio"}}
	for _, s := range stages {
		ours, floor := middle(s.ours), middle(s.floor)
		row := []string{s.name, nanos(ours), nanos(floor), ""}
		if ours > 0 && floor > 0 {
			row[3] = fmt.Sprintf("%.2f", ours/floor)
		}
		rows = append(rows, row)
	}
	if len(stages) == 0 {
		return fmt.Errorf("there is no result of BenchmarkStages in what was read")
	}
	return report.WriteColumns(out, rows)
}

// perItem is what an item costs, whatever a package calls its items: in CPU where the benchmark counts that, else in time.
func perItem(results string) (float64, error) {
	fields := strings.Fields(results)
	best, value := 0, ""
	for i := 1; i < len(fields); i += 2 {
		rank := 0
		switch unit := fields[i]; {
		case strings.HasPrefix(unit, "cpu-ns/"):
			rank = 3
		case unit == "ns/op":
			rank = 1
		case strings.HasPrefix(unit, "ns/"):
			rank = 2
		}
		if rank > best {
			best, value = rank, fields[i-1]
		}
	}
	if best == 0 {
		return 0, errors.New("it reports no time, as in ns/item")
	}
	return strconv.ParseFloat(value, 64)
}

// middle is the median; 0 of nothing.
func middle(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// nanos is nothing for what was not measured.
func nanos(ns float64) string {
	if ns == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", ns)
}
