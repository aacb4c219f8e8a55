package fsys

import "context"

const metaConverted = 'c' // the pattern of erasure units that holds for all that is there

func convertedKey() []byte { return []byte{metaConverted} }

// convertForgotten brings the conversion of a unit that is to be forgotten to
// its end.
func (fs *FS) convertForgotten(ctx context.Context, u *unit) error { return nil }
