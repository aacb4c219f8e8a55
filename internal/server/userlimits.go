package server

import (
	"math"
	"sync"
	"time"

	"github.com/efs-project/efs/internal/access"
	"golang.org/x/time/rate"
)

// userLimits are the limits of users that have any, and what each of them has
// used of them. A user without limits costs a look at an empty table.
type userLimits struct {
	mu    sync.Mutex
	users map[userKey]*limiter
}

type userKey struct{ fs, user string }

// limiter meters one user, over all connections.
type limiter struct {
	limits access.Limits
	rate   *rate.Limiter // requests; nil: no bound
	bytes  *rate.Limiter // of bodies; nil: no bound
	piece  int           // bytes that may move before waiting
}

// pieceTime is how long a body that is held back waits at a time, about.
const pieceTime = 250 * time.Millisecond

func newLimiter(l access.Limits) *limiter {
	m := &limiter{limits: l}
	if l.Requests > 0 {
		m.rate = rate.NewLimiter(rate.Limit(l.Requests), int(max(1, math.Ceil(l.Requests))))
	}
	if l.Bandwidth > 0 {
		m.piece = int(max(512, min(64<<10, l.Bandwidth*int64(pieceTime)/int64(time.Second))))
		m.bytes = rate.NewLimiter(rate.Limit(l.Bandwidth), max(m.piece, int(min(l.Bandwidth/4, 4<<20))))
	}
	return m
}

// of returns the limiter of a user whose limits are l.
func (u *userLimits) of(k userKey, l access.Limits) *limiter {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.users[k]
	if m == nil || m.limits != l {
		if u.users == nil {
			u.users = map[userKey]*limiter{}
		}
		m = newLimiter(l)
		u.users[k] = m
	}
	return m
}

// enter counts a request of the authenticated user against the user's limits.
func (x *exchange) enter() error {
	if x.who.users == nil {
		return nil
	}
	l, ok := x.who.users.LimitsOf(x.who.user)
	if !ok {
		return nil
	}
	m := x.s.userLimits.of(userKey{x.who.fsName, x.who.user}, l)
	if m.rate != nil {
		if r := m.rate.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			return &problem{kind: tooManyRequests, retry: int(math.Ceil(wait.Seconds())),
				detail: "The user makes more requests than the operator allows. Send fewer, or ask for a higher limit (efsctl limit)."}
		}
	}
	if m.bytes != nil {
		x.meter = m
	}
	return nil
}

// most returns how many of n bytes may move at once.
func (m *limiter) most(n int) int {
	if m == nil {
		return n
	}
	return min(n, m.piece)
}

// moved waits until n bytes that have moved are within the user's bandwidth.
// The deadline of whoever waits is moved on meanwhile: it is the server that
// holds the body back.
func (x *exchange) moved(n int, setDeadline func(time.Time)) {
	if x.meter == nil || n == 0 {
		return
	}
	wait := x.meter.bytes.ReserveN(time.Now(), n).Delay()
	if wait <= 0 {
		return
	}
	setDeadline(time.Now().Add(wait + x.s.limits.SlowClient))
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.r.Context().Done():
	}
}

// places are what is under way of each user: uploads, or requests of all kinds.
// No user may have more than half of what there is for all.
type places struct {
	mu   sync.Mutex
	used map[userKey]int
}

// take takes a place unless the user has max already.
func (p *places) take(k userKey, max int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[k] >= max {
		return false
	}
	if p.used == nil {
		p.used = map[userKey]int{}
	}
	p.used[k]++
	return true
}

func (p *places) leave(k userKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[k]--; p.used[k] <= 0 {
		delete(p.used, k)
	}
}

// maxUploads is how many large uploads the user may have under way: a limit
// of the user's own, and never more than half of all, so that no user keeps
// the others out.
func (x *exchange) maxUploads() int {
	most := max(1, int(x.s.uploads.most.Load())/2)
	if x.who.users != nil {
		if l, ok := x.who.users.LimitsOf(x.who.user); ok && l.Uploads > 0 {
			most = min(most, l.Uploads)
		}
	}
	return most
}
