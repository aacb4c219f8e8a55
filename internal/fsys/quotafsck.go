package fsys

import "github.com/efs-project/efs"

// countOwner takes a file into the sum of its owner.
func (c *checker) countOwner(e *efs.Entry) {
	q := c.fs.quotas.Load()
	if q.users == nil || q.users[e.Owner] == nil {
		return
	}
	sum := c.users[e.Owner]
	c.users[e.Owner] = efs.Usage{Bytes: sum.Bytes + e.Size, Files: sum.Files + 1}
}

// userUsage compares what users with a quota have in use with what was found.
// Nothing was written since before the first entry was read. Setting a quota
// writes, and so does the end of counting.
func (c *checker) userUsage() error {
	for name, u := range c.fs.quotas.Load().users {
		if !u.Counted {
			continue
		}
		counted, err := c.fs.o.Index.Usage(c.ctx, u.Account)
		if err == nil {
			err = c.usage(u.Account, name, counted, c.users[name])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
