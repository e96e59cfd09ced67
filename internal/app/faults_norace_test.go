//go:build !race

package app

// handshakes at once.
const handshakes = 1000
