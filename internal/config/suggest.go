package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// suggest finds the key that was probably meant.
func suggest(name string, fields map[string]field) string {
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, known := range slices.Sorted(maps.Keys(fields)) {
		if fields[known].ref {
			continue
		}
		dist := distance(strings.ToLower(name), known)
		if len(name) > 3 && (strings.HasPrefix(known, name) || strings.HasPrefix(name, known)) {
			dist = 1
		}
		if dist < bestDistance {
			best, bestDistance = known, dist
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; look it up in config.example.yaml or take it out"
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
