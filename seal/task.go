package seal

// task is work that goes on beside its owner, again and again, without an
// allocation for each time.
type task struct {
	begin func()
	ended chan struct{}
}

func newTask(work func()) task {
	t := task{ended: make(chan struct{}, 1)}
	t.begin = func() {
		work()
		t.ended <- struct{}{}
	}
	return t
}

// start begins the work; wait must follow before the next start.
func (t *task) start() { go t.begin() }

func (t *task) wait() { <-t.ended }
