package open

import (
	"github.com/efs-project/efs/internal/kms/vault"
	"github.com/efs-project/efs/internal/kms/vaultkv"
)

var (
	_ = add("vault", vault.New)
	_ = add("vault-kv", vaultkv.New)
)
