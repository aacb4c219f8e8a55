package keyring

// UnitOfSlot returns the unit that a slot of a sealed file names the key of, at
// one of its stages. efs.ErrNotFound for other slots, efs.ErrForgotten if the
// unit's key was destroyed; what the KMS answers.
func (k *Keys) UnitOfSlot(slot [16]byte) (*Unit, error) {
	u, _, err := k.byTag(slot)
	return u, err
}
