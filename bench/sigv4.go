package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// signingKey is the key that AWS Signature Version 4 derives for a day.
type signingKey struct {
	day string // YYYYMMDD
	key []byte
}

const (
	awsRegion = "us-east-1"
	awsScope  = "/" + awsRegion + "/s3/aws4_request"
	awsTime   = "20060102T150405Z"
)

// appendHead signs a request (AWS Signature Version 4, header form, payload
// not signed since TLS protects it). It costs a few microseconds, so little
// beside what MinIO computes for a request that it is done in the timed loop.
func (m *minioServer) appendHead(head []byte, method, path string) []byte {
	var stamp [len(awsTime)]byte
	now := time.Now().UTC().AppendFormat(stamp[:0], awsTime)
	day := string(now[:8])
	k := m.key.Load()
	if k == nil || k.day != day {
		k = deriveKey(day)
		m.key.Store(k)
	}
	canonical := make([]byte, 0, 512)
	canonical = append(canonical, method...)
	canonical = append(append(append(canonical, '\n'), path...), "\n\nhost:"...)
	canonical = append(append(canonical, m.addr...), "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:"...)
	canonical = append(append(canonical, now...), "\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"...)
	sum := sha256.Sum256(canonical)

	toSign := append(canonical[:0], "AWS4-HMAC-SHA256\n"...)
	toSign = append(append(toSign, now...), '\n')
	toSign = append(append(append(toSign, day...), awsScope...), '\n')
	toSign = hex.AppendEncode(toSign, sum[:])

	head = append(append(append(head, method...), ' '), path...)
	head = append(append(head, " HTTP/1.1\r\nHost: "...), m.addr...)
	head = append(append(head, "\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: "...), now...)
	head = append(head, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential="+minioUser+"/"...)
	head = append(append(head, day...), awsScope+",SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature="...)
	head = hex.AppendEncode(head, mac(k.key, toSign))
	return append(head, "\r\n"...)
}

func deriveKey(day string) *signingKey {
	k := mac([]byte("AWS4"+minioSecret), []byte(day))
	for _, part := range []string{awsRegion, "s3", "aws4_request"} {
		k = mac(k, []byte(part))
	}
	return &signingKey{day, k}
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}
