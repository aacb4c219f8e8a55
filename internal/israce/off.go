//go:build !race

// Package israce says whether the race detector is built in.
package israce

// Enabled says whether the race detector is built in: everything takes up to
// ten times as long then.
const Enabled = false
