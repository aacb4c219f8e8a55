// Package archive writes and reads archives of file systems: a standard PAX tar
// (POSIX.1-2001), compressed and sealed as one file (package seal).
// docs/archive.md specifies it.
//
// A Writer makes the tar from members and their contents; NewSealer seals what
// it writes. A Reader gives the members back, from a file (Open) or a stream
// (OpenStream), and nothing that was not authenticated. Of a damaged file it
// gives, where asked to keep going, all that is left, and tells exactly what is
// lost.
//
// Nothing here knows servers: what is in an archive can be read without one.
package archive
