//go:build race

package app

// handshakes at once. Under the race detector one takes ten times as long.
const handshakes = 100
