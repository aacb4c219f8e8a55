package bolt

import (
	"os"

	"golang.org/x/sys/windows"
)

// Servers run on Linux. Here an index is only read, to recover what it tells of.

const noFollow = 0

func takeMemory(size int) ([]byte, error) { return make([]byte, size), nil }

func giveMemory([]byte) {}

func unlock(*os.File) {} // ends with the file

func availableBytes(dir string) (free uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	return free, windows.GetDiskFreeSpaceEx(path, &free, nil, nil)
}
