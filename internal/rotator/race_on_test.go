//go:build race

package rotator

const underRace = true
