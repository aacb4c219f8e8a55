package config

import "github.com/efs-project/efs/internal/bytesize"

// Size is a number of bytes, written as 512, 64KiB, 10MiB, 2GiB or 1TiB.
type Size = bytesize.Size
