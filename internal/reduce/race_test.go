//go:build race

package reduce

// poolLosses is how many allocations a push may cost because the race detector has a sync.Pool lose things at random.
const poolLosses = 4
