//go:build race

package seal

// raceEnabled: everything takes ten times as long.
const raceEnabled = true
