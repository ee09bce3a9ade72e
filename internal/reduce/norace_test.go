//go:build !race

package reduce

const poolLosses = 0
