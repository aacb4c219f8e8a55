package atomicfile

import "os"

// SyncDir does nothing here: Windows makes names durable with the file.
func SyncDir(string) error { return nil }

// renameNew gives temp the name path, which must be free.
func renameNew(temp, path string) error {
	if err := os.Link(temp, path); err != nil {
		return err
	}
	return os.Remove(temp)
}
