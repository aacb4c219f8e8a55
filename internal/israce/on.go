//go:build race

package israce

// Enabled says whether the race detector is built in: everything takes up to
// ten times as long then.
const Enabled = true
