//go:build race

package mutator

// The race detector's build optimises less; this only tells a slip from a
// decoder that has lost its way.
const maxAllocations = 20
