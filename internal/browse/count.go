// Package browse shows what is in a file system to people: trees, sizes of
// directories.
package browse

import "fmt"

// Count is n with the noun that fits it.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
