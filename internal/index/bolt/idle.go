package bolt

import "time"

// watch sees to it that rest is called when nothing has come for a while.
func (x *Index) watch() {
	x.lastCommit = time.Now()
	switch {
	case x.watched:
		return
	case x.quiet == nil:
		x.quiet = time.AfterFunc(x.quietAfter, x.askToRest)
	default:
		x.quiet.Reset(x.quietAfter)
	}
	x.watched = true
}

func (x *Index) askToRest() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closing {
		return
	}
	x.queue = append(x.queue, &request{idle: true, done: make(chan struct{}, 1)})
	x.work.Signal()
}

// rest lets the flusher have what the log holds, so that an idle index has
// an empty log and no memory.
func (x *Index) rest() {
	x.watched = false
	if wait := x.quietAfter - time.Since(x.lastCommit); wait > 0 {
		x.quiet.Reset(wait)
		x.watched = true
		return
	}
	x.gate.Lock()
	x.resting = true // as from the next generation that is free
	x.gate.Unlock()
	x.freeze()
}
