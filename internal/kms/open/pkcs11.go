//go:build pkcs11

package open

import "github.com/efs-project/efs/internal/kms/pkcs11"

var _ = add("pkcs11", pkcs11.New)
