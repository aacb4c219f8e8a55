// Package hsm runs a server whose master keys lie in a PKCS #11 token, SoftHSM
// 2 in place of a real one. Its tests are built with -tags pkcs11.
package hsm
