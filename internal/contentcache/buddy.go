package contentcache

import "math/bits"

// minBlock is the smallest block, bytes: a page.
const minBlock = 4 << 10

// block is a run of the arena: minBlock << order bytes from page on.
type block struct {
	page  int
	order int
}

func (b block) size() int64 { return minBlock << b.order }

// buddies gives out blocks of pages (Knowlton, 1965): each is halved as often
// as needed, and two free halves become one again.
type buddies struct {
	free []map[int]struct{} // by order: pages at which free blocks begin
}

func newBuddies(pages int) *buddies {
	b := &buddies{free: make([]map[int]struct{}, bits.Len(uint(pages)))}
	for i := range b.free {
		b.free[i] = map[int]struct{}{}
	}
	// The largest blocks that fit, each at a multiple of its own size.
	for page := 0; page < pages; {
		order := bits.Len(uint(pages-page)) - 1
		if page > 0 {
			order = min(order, bits.TrailingZeros(uint(page)))
		}
		b.free[order][page] = struct{}{}
		page += 1 << order
	}
	return b
}

// orderOf is that of the smallest block of n bytes.
func orderOf(n int64) int { return bits.Len64(uint64((n - 1) / minBlock)) }

func (b *buddies) alloc(n int64) (block, bool) {
	want := orderOf(n)
	for order := want; order < len(b.free); order++ {
		for page := range b.free[order] {
			delete(b.free[order], page)
			for order > want { // keep the lower half, give the upper back
				order--
				b.free[order][page+1<<order] = struct{}{}
			}
			return block{page, want}, true
		}
	}
	return block{}, false
}

func (b *buddies) release(x block) {
	for x.order < len(b.free)-1 {
		buddy := x.page ^ 1<<x.order
		if _, free := b.free[x.order][buddy]; !free {
			break
		}
		delete(b.free[x.order], buddy)
		x.page &^= 1 << x.order
		x.order++
	}
	b.free[x.order][x.page] = struct{}{}
}
