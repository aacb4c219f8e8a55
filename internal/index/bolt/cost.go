package bolt

import "github.com/efs-project/efs"

// cost is what putting operations into the file takes of its pages at most, in
// bytes. A value that needs several pages needs them in a row, which freed
// pages may not be; so those are counted apart. It does not know what values
// lie beside the ones that change, and takes them to be no longer than usual:
// see flusher for what happens where they are.
type cost struct {
	pages int64 // in all
	rows  int64 // of them in rows
}

const (
	pageSize  = 4096
	treeDepth = 5 // of a bucket with billions of records

	// neighbours is what lies in one page with an inline content, with the
	// page's rest: two more of 16 KiB.
	neighbours = 10 * pageSize

	// What a transaction takes besides: the upper pages of each bucket.
	baseCost = int64(efs.Spaces+5) * treeDepth * pageSize
)

// add counts one operation.
func (c *cost) add(bucket byte, keyLen int, valLen uint32) {
	if valLen == tombstone {
		c.pages += treeDepth * pageSize
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
		// Its leaf and the pages on the way there, and what splitting leaves
		// half empty.
		c.pages += treeDepth*pageSize + 2*size
	}
	if size > pageSize/4 { // beyond, a leaf can become longer than a page
		c.pages += 3 * pageSize
		c.rows += size + 3*pageSize
	}
}

// nodeHeader is what bbolt adds to key and value in a page.
const nodeHeader = 16

func (c *cost) plus(d cost) { c.pages, c.rows = c.pages+d.pages, c.rows+d.rows }
