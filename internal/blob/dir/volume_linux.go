package dir

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// volumes by the magic number that statfs(2) returns.
var volumes = map[uint32]volume{
	unix.EXT4_SUPER_MAGIC:      {name: "ext4", maxDir: manyEntries, direct: true}, // ext2 and ext3 show the same number
	unix.XFS_SUPER_MAGIC:       {name: "xfs", maxDir: manyEntries, direct: true},
	unix.BTRFS_SUPER_MAGIC:     {name: "btrfs", maxDir: manyEntries},
	unix.F2FS_SUPER_MAGIC:      {name: "f2fs", maxDir: manyEntries},
	unix.TMPFS_MAGIC:           {name: "tmpfs", maxDir: manyEntries},
	unix.OVERLAYFS_SUPER_MAGIC: {name: "overlay", maxDir: manyEntries},
	unix.NFS_SUPER_MAGIC:       {name: "nfs", maxDir: manyEntries},
	unix.CEPH_SUPER_MAGIC:      {name: "cephfs", maxDir: manyEntries},
	unix.FUSE_SUPER_MAGIC:      {name: "fuse", maxDir: manyEntries},
	unix.V9FS_MAGIC:            {name: "9p", maxDir: manyEntries},
	unix.SMB2_SUPER_MAGIC:      {name: "smb", maxDir: manyEntries},
	unix.CIFS_SUPER_MAGIC:      {name: "cifs", maxDir: manyEntries},
	0x2fc12fc1:                 {name: "zfs", maxDir: manyEntries},
	unix.MSDOS_SUPER_MAGIC:     {name: "vfat", maxDir: fatEntries, loose: true},
	unix.EXFAT_SUPER_MAGIC:     {name: "exfat", maxDir: manyEntries, loose: true},
}

// volumeOf tells on what kind of volume an open directory lies. An unknown
// kind is treated as the narrowest one.
func volumeOf(d *os.File) (volume, error) {
	var st unix.Statfs_t
	for {
		err := unix.Fstatfs(int(d.Fd()), &st)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return volume{}, err
		}
		if v, ok := volumes[uint32(st.Type)]; ok {
			return v, nil
		}
		return volume{name: fmt.Sprintf("unknown (%#x)", uint32(st.Type)), maxDir: fatEntries, loose: true}, nil
	}
}
