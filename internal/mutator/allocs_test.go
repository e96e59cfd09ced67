//go:build !race

package mutator

// maxAllocations is promised for decode, decide and encode together.
const maxAllocations = 12
