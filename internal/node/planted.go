package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/efs-project/efs"
)

// planted looks for what resembles a file system where file systems lie and is
// none: somebody put it there, or it came from elsewhere. It is not served.
func (n *Node) planted() (problems []string) {
	bases := []string{n.cfg.Root, n.cfg.Storage.System, n.cfg.Storage.Index, n.cfg.Storage.Files}
	slices.Sort(bases)
	for _, base := range slices.Compact(bases) {
		if base == "" {
			continue
		}
		entries, err := os.ReadDir(base)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s cannot be read: %v", base, err))
			continue
		}
		for _, e := range entries {
			if _, ours := n.secrets().registry.get(e.Name()); ours || !efs.ValidFSName(e.Name()) {
				continue
			}
			if dir := filepath.Join(base, e.Name()); resemblesFS(dir) {
				problems = append(problems, fmt.Sprintf("'%s' is not a file system of this server: it is not served; move it away, or restore the server's own %s beside it", dir, serverDir))
			}
		}
	}
	return problems
}

func resemblesFS(dir string) bool {
	for _, part := range []string{"system", "files", "index.db"} {
		if _, err := os.Lstat(filepath.Join(dir, part)); err == nil {
			return true
		}
	}
	return false
}
