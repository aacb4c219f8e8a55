package audit

// add puts an event into the next batch. Those that are waited for are written
// at once, that is, with all that has come while the batch before was on its
// way to the disk.
func (l *Log) add(e *Event, h handling) (*batch, error) {
	if e.Time.IsZero() {
		e.Time = l.o.Clock()
	}
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	*buf = e.appendBody((*buf)[:0])
	return l.addBody(*buf, h, false)
}

// handling is how an event is dealt with until it is durable.
type handling int

const (
	recorded handling = iota // nobody waits; it may be dropped and counted
	handed                   // nobody waits; it is not dropped, and made again where it gets lost
	awaited
)

// addBody returns the batch that is to be waited for, if any is.
func (l *Log) addBody(body []byte, h handling, signed bool) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.batch
	switch {
	case l.failed != nil || l.closed:
		if h != handed {
			l.drop()
		}
		return nil, l.errLocked()
	case h == recorded && (l.low || len(b.bodies) > maxQueue):
		l.drop()
		return nil, ErrUnavailable
	}
	first := len(b.ends) == 0
	b.bodies = append(b.bodies, body...)
	b.ends = append(b.ends, len(b.bodies))
	if signed {
		for len(b.signed) < len(b.ends)-1 {
			b.signed = append(b.signed, false)
		}
		b.signed = append(b.signed, true)
	}
	switch {
	case h == awaited || h == handed && len(b.bodies) > maxQueue:
		l.signal()
		return b, nil
	case len(b.bodies) > earlyBatch:
		l.signal()
	case first:
		l.soon.Reset(delay)
	}
	return nil, nil
}

func (l *Log) drop() {
	l.dropped++
	l.stats.Dropped++
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}
