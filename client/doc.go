// Package client is the Go client of EFS, an encrypted file system that
// programs use over HTTPS.
//
// A program hands over a file, gets a confirmation it can rely on, deletes its
// own copy, and reads it back later:
//
//	signer, err := client.LoadKey("priv.pgp", nil)
//	c, err := client.Dial(ctx, client.Config{
//		URL:      "https://efs.example.org",
//		Signer:   signer,
//		CertFile: "clientCert.crt", // names the file system and the user
//		CAFile:   "ca.crt",
//	})
//	defer c.Close()
//
//	stored, err := c.Put(ctx, "/patients/173/scan.png", file, client.PutOptions{Type: "image/png"})
//	body, err := c.Get(ctx, "/patients/173/scan.png")
//
// # What a nil error means
//
// When Put returns nil, the server has told that the file is on stable storage,
// and the SHA-256 it stored is the SHA-256 of what this process sent. When a
// Body has returned io.EOF, all of the file was delivered and its SHA-256 is
// the one the server keeps; anything less is another error, so that a caller
// who copies to a temporary name and renames after io.EOF never keeps a
// mutilated file.
//
// # Sessions
//
// Dial proves possession of the user's key once. From then on the client
// renews its session when two thirds of its hour are over, shakes hands again
// after 24 renewals, and does so once, silently, when the server no longer
// knows the session (after a restart, say). Nothing runs while the client is
// idle. The text that is signed is built here; a server that sends another one
// gets no signature.
//
// # Certificates
//
// When two thirds of the client certificate's life are over, the client asks
// for the next one with a key pair it has just made. Config.SaveCertificate
// is handed the new bundle, or else the file in Config.CertFile is replaced
// atomically. A renewal that fails is logged and tried again with the next
// session; it fails no request while the old certificate lasts.
//
// # Retries
//
// Requests that may safely be repeated are, up to Config.Retries times, after
// a lost connection and the answers 502, 503 and 504, with growing pauses and
// never before the server's Retry-After. A Put is repeated only if its body is
// an io.Seeker or was not yet read from; conditional requests and moves only
// if the server said that it had done nothing.
//
// # Connections
//
// The client speaks HTTP/1.1 on a pool of connections, which here is faster
// than HTTP/2 for bulk data and for many small requests, because neither flow
// control nor a shared connection stands between requests. Config.HTTP2 asks
// for HTTP/2, useful where a proxy limits connections. A Client is meant to be
// shared: all methods are safe for concurrent use.
package client
