package open

import (
	"github.com/efs-project/efs/internal/kms/awskms"
	"github.com/efs-project/efs/internal/kms/azurekeyvault"
	"github.com/efs-project/efs/internal/kms/gcpkms"
)

var (
	_ = add("awskms", awskms.New)
	_ = add("azurekeyvault", azurekeyvault.New)
	_ = add("gcpkms", gcpkms.New)
)
