// Package audit keeps the log of who did what: one JSON line per event, in
// files that only grow, in a form in which no line can be changed, removed or
// moved unnoticed. docs/audit.md specifies every byte.
//
// Each line holds the SHA-256 of the line before it, and a MAC under a key
// that is replaced by a one-way function of itself after each line (Bellare
// and Yee, "Forward-Security in Private-Key Cryptography", 2003; Schneier and
// Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999). So whoever
// gets hold of the present key cannot make lines of the past. At intervals a
// head is signed with Ed25519 and handed to places that do not go back
// together with the log: what was cut off from the end is noticed there.
//
// What changes something is durable before it is answered: by its line (Commit),
// or, in a file system, by the change that tells all that the line says, and
// of which the line is made if a crash takes it away (Hand, Changes). Reading
// is recorded within a tenth of a second (Record).
package audit
