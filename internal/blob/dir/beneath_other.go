//go:build !linux

package dir

// openBeneath opens rel below root, through no symbolic link.
func openBeneath(root int, rel string, flags int, mode uint32) (int, error) {
	return walkBeneath(root, rel, flags, mode)
}
