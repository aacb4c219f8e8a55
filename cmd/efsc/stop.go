package main

import (
	"context"
	"fmt"
)

// place is where efsc runs, for stop to know what it ends.
type place int

const (
	outside     place = iota // in no container
	mainProcess              // a container's main process
	entered                  // in a container whose main process is another efsc
	stranger                 // in a container of something else
)

// stop ends this session, and the container that is efsc's.
func (s *shell) stop(context.Context, *call) error {
	s.stopped = true
	switch whereWeRun() {
	case mainProcess:
		fmt.Fprintln(s.out, "shutting down container..")
	case entered:
		fmt.Fprintln(s.out, "shutting down container..")
		return stopContainer()
	case stranger:
		fmt.Fprintln(s.out, "Session ended. The container goes on: its main process is not efsc.")
	default:
		fmt.Fprintln(s.out, "Session ended.")
	}
	return nil
}
