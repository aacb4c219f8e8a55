package server

import (
	"crypto/tls"
	"fmt"
)

// Routes is a set of groups of routes, for listeners that serve some alone.
type Routes uint8

// The groups of routes.
const (
	RoutesData    Routes = 1 << iota // files and directories, in every form of their URL
	RoutesAuth                       // handshake, sessions, certificates
	RoutesAPI                        // /api/v1, but for files
	RoutesChanges                    // the change feed
	RoutesOps                        // /livez, /readyz, /metrics

	allRoutes Routes = 0
)

var routeGroups = map[string]Routes{
	"data": RoutesData, "auth": RoutesAuth, "api": RoutesAPI, "changes": RoutesChanges, "ops": RoutesOps,
}

// ParseRoutes returns the set of groups with these names; none is all.
func ParseRoutes(names []string) (Routes, error) {
	set := allRoutes
	for _, name := range names {
		g, ok := routeGroups[name]
		if !ok {
			return 0, fmt.Errorf("routes: there is no group %q", name)
		}
		set |= g
	}
	return set, nil
}

// group is that of a route. Those that no other claims are the API's.
func (r route) group() Routes {
	switch r {
	case routeData, routeObject, routeUploads, routeUpload, routeUploadPart, routeUploadComplete, routeArchive:
		return RoutesData
	case routeHello, routeSession, routeRenew, routeCertificate:
		return RoutesAuth
	case routeChanges:
		return RoutesChanges
	case routeLive, routeReady, routeMetrics:
		return RoutesOps
	}
	return RoutesAPI
}

// serves reports whether the listener serves a route.
func (l *Listener) serves(r route) bool {
	return l.Routes == allRoutes || r == routeOptions || l.Routes&r.group() != 0
}

// AskCert says what a TLS listener does about client certificates.
type AskCert uint8

// The ways to ask. Which certificate is good is judged at each request, so
// that the caller can be told what is wrong with it.
const (
	CertRequested AskCert = iota // asked for, and doing without is no matter of TLS
	CertRequired                 // a handshake without any fails
	CertNone                     // not asked for
)

func (a AskCert) tls() tls.ClientAuthType {
	switch a {
	case CertRequired:
		return tls.RequireAnyClientCert
	case CertNone:
		return tls.NoClientCert
	}
	return tls.RequestClientCert
}
