package report

import "strings"

// Resident is what the resident set of the program consisted of once it was measured.
type Resident struct {
	Bytes uint64 `json:"bytes"`
	// Parts add up to it. They are the same in every result, with those of nothing.
	Parts []ResidentPart `json:"parts"`
}

// ResidentPart may be less than nothing: where the runtime holds pages that it has not touched.
type ResidentPart struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// peakWhile is the highest resident set that was seen while it was measured, without the warm-up.
func (r *Result) peakWhile() (peak uint64) {
	peak = r.RSSEnd
	for _, s := range r.Samples {
		peak = max(peak, s.RSS)
	}
	return peak
}

// resident writes one table of all: a row for each scenario, and a column for each part that is anywhere at least a tenth of a MiB.
func (run *Run) resident(b *strings.Builder) {
	rows := [][]string{{"scenario", "RSS peak", "while measured", "then"}}
	var shown []bool
	for _, r := range run.Results {
		if r.Resident == nil {
			continue
		}
		row := []string{r.Scenario, mib(r.RSSPeak), mib(r.peakWhile()), mib(r.Resident.Bytes)}
		for i, p := range r.Resident.Parts {
			if i == len(shown) { // the first: all have the same parts
				shown, rows[0] = append(shown, false), append(rows[0], p.Name)
			}
			text := signedMiB(p.Bytes)
			shown[i] = shown[i] || text != ""
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	columns(b, keepColumns(rows, 4, shown))
}

// keepColumns leaves out the columns after the first few that are not shown.
func keepColumns(rows [][]string, first int, shown []bool) [][]string {
	for i, row := range rows {
		kept := row[:first:first]
		for at, cell := range row[first:] {
			if shown[at] {
				kept = append(kept, cell)
			}
		}
		rows[i] = kept
	}
	return rows
}

// signedMiB is nothing for what would be 0.0.
func signedMiB(n int64) string {
	const least = 1 << 20 / 20
	switch {
	case n >= least:
		return mib(uint64(n))
	case n <= -least:
		return "-" + mib(uint64(-n))
	}
	return ""
}
