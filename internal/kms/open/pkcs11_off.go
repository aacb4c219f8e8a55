//go:build !pkcs11

package open

func init() {
	leftOut["pkcs11"] = "build it with cgo and -tags pkcs11"
}
