package vaultconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/efs-project/efs"
	"github.com/hashicorp/vault/api"
)

// Error is an answer of Vault that is none of success. It wraps the error of
// package efs that it means.
type Error struct {
	Status   int      // of HTTP
	Messages []string // Vault's own
	kind     error
}

func (e *Error) Error() string {
	text := "no reason given"
	if len(e.Messages) > 0 {
		text = strings.Join(e.Messages, "; ")
	}
	return fmt.Sprintf("%v: Vault answers %d: %s", e.kind, e.Status, text)
}

// Unwrap returns the error of package efs that the answer means.
func (e *Error) Unwrap() error { return e.kind }

// Says reports whether one of Vault's messages contains text.
func (e *Error) Says(text string) bool {
	for _, m := range e.Messages {
		if strings.Contains(m, text) {
			return true
		}
	}
	return false
}

// meaning turns an error of the api package into one of package efs. What a
// 400 means is for the caller to say; here it is efs.ErrBadInput.
func meaning(err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return &Error{Status: answer.StatusCode, Messages: trimmed(answer.Errors), kind: kindOf(answer.StatusCode)}
	}
	return unanswered(err)
}

func kindOf(status int) error {
	switch {
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return efs.ErrRefused
	case status == http.StatusNotFound:
		return efs.ErrNotFound
	case status == http.StatusMethodNotAllowed:
		return efs.ErrUnsupported
	case status == http.StatusBadRequest:
		return efs.ErrBadInput
	}
	return efs.ErrUnavailable // 412, 429, 472, 473, 5xx: sealed, standby, overloaded, broken
}

// unanswered is for a Vault that did not answer, or not completely.
func unanswered(err error) error {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &cert):
		return fmt.Errorf("%w: Vault's certificate is not trusted: check ca_file and that address bears a name of the certificate: %w", efs.ErrUnavailable, err)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: what answers at Vault's address speaks no TLS: check address: %w", efs.ErrUnavailable, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: Vault does not answer in time: %w", efs.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: Vault does not answer: %w", efs.ErrUnavailable, err)
}

// trimmed takes the layout for terminals out of Vault's messages.
func trimmed(messages []string) []string {
	var out []string
	for _, m := range messages {
		if m = strings.Join(strings.Fields(strings.ReplaceAll(m, "*", " ")), " "); m != "" {
			out = append(out, m)
		}
	}
	return out
}
