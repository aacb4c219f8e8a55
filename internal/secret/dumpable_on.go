//go:build efs_dumpable

package secret

// dumpable is true only in test builds that look into a server's memory.
const dumpable = true
