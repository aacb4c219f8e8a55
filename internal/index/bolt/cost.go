package bolt

import "github.com/efs-project/efs"

// cost is what putting operations into the file takes of its pages at most, in
// bytes. A value that needs several pages needs them in a row, which freed
// pages may not be; so those are counted apart. It does not know what values
// lie beside the ones that change, and takes them to be no longer than usual:
// see flusher for what happens where they are.
type cost struct {
	pages int64 // in all, but for branches
	rows  int64 // of them in rows
	spots int64 // operations anywhere in a tree, each on a way of its own
}

const (
	// pageSize is that of the files that are made. Larger pages waste less
	// beside inline contents of a kilobyte or two, and need a shorter list where
	// they are free; they cost more where changes are scattered.
	pageSize  = 16 << 10
	leastPage = 4 << 10 // of files that an older version made

	treeDepth = 5  // of a bucket with billions of records
	fanOut    = 40 // of its branches, half full, in the smallest pages

	// neighbours is what lies in one page with an inline content, with the
	// page's rest: two more of 16 KiB.
	neighbours = 3 * pageSize

	// baseCost is what a generation takes besides: the ends of all buckets.
	baseCost = int64(efs.Spaces+5) * treeDepth * pageSize
)

// add counts one operation.
func (c *cost) add(bucket byte, keyLen int, valLen uint32) {
	if valLen == tombstone {
		c.spots++
		c.pages += pageSize
		if bucket == byte(efs.SpaceInline) {
			c.pages += neighbours
			c.rows += neighbours
		}
		return
	}
	size := int64(keyLen) + int64(valLen) + nodeHeader
	if appends(bucket) {
		c.pages += size + size/8
	} else {
		// Its leaf, and what splitting leaves half empty.
		c.spots++
		c.pages += pageSize + 2*size
	}
	if size > leastPage/4 { // beyond, a leaf can become longer than a page
		c.pages += 3 * pageSize
		c.rows += size + 3*pageSize
	}
}

// nodeHeader is what bbolt adds to key and value in a page.
const nodeHeader = 16

func (c *cost) plus(d cost) {
	c.pages, c.rows, c.spots = c.pages+d.pages, c.rows+d.rows, c.spots+d.spots
}

// whole is the cost of a generation to a file of which so many bytes are used:
// with the branches on the ways to its operations, which are no more than
// there are.
func (c cost) whole(used int64) cost {
	c.pages += baseCost + min(c.spots*(treeDepth-1)*pageSize, used/fanOut)
	return c
}
