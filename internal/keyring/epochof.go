package keyring

import "github.com/efs-project/efs"

// EpochOf returns the number of the epoch that a slot of a sealed file names a
// key of; false for other slots, those of units too.
func (k *Keys) EpochOf(slot [16]byte) (epoch int, ok bool) {
	l, ok := k.set().epochs[efs.ID(slot)]
	if !ok {
		return 0, false
	}
	return l.record().Epoch, true
}
